//! Servers by hand, which tell all that they were sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fixture::asks;
use tcpchan::client::FallbackConfig;

/// What a server of HTTP does when it is sent what is no HTTP.
#[derive(Clone, Copy, Debug)]
pub enum Stranger {
    Answers400,
    HangsUp,
    SaysNothing,
}

/// What came on each connection.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Vec<u8>>>>);

impl Heard {
    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    /// How many connections began with a hello, and how many requests came at all.
    pub fn hellos_and_requests(&self) -> (usize, usize) {
        let all = self.all();
        let hellos = all.iter().filter(|bytes| bytes.first() == Some(&1));
        let requests = all.iter().map(|bytes| {
            let gets = bytes.windows(4).filter(|bytes| *bytes == b"GET ");
            gets.count()
        });
        (hellos.count(), requests.sum())
    }
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A server of HTTP/1.1, one request for each connection.
pub async fn http(stranger: Stranger) -> (SocketAddr, Heard) {
    let (listener, addr) = listen().await;
    let heard = Heard::default();
    tokio::spawn(serve(listener, stranger, heard.clone()));
    (addr, heard)
}

pub async fn serve(listener: TcpListener, stranger: Stranger, heard: Heard) {
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let heard = heard.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            let count = tcp.read(&mut bytes).await.unwrap_or(0);
            heard.0.lock().unwrap().push(bytes[..count].to_vec());
            let answer: &[u8] = match (bytes[0], stranger) {
                (b'G', _) => {
                    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nraw"
                }
                (_, Stranger::Answers400) => b"HTTP/1.1 400 Bad Request\r\n\r\n",
                (_, Stranger::HangsUp) => b"",
                (_, Stranger::SaysNothing) => {
                    let _ = tcp.read_to_end(&mut Vec::new()).await; // until the client goes
                    b""
                }
            };
            let _ = tcp.write_all(answer).await;
        });
    }
}

/// With little patience for a server that says nothing.
pub fn asks_briefly() -> FallbackConfig {
    let soon = std::time::Duration::from_millis(200);
    asks().hello_within(soon).unwrap()
}

/// A server of tcpchan that says nothing to a hello, and its own hello to a request of HTTP.
pub async fn slow(listener: TcpListener, heard: Heard) {
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let heard = heard.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            let count = tcp.read(&mut bytes).await.unwrap_or(0);
            heard.0.lock().unwrap().push(bytes[..count].to_vec());
            if bytes[0] == b'G' {
                let _ = tcp.write_all(&[1]).await;
            }
            let _ = tcp.read_to_end(&mut Vec::new()).await; // until the client goes
        });
    }
}
