//! Through a proxy: the test plays it. Real ones are in `tests/programs/proxies.rs`.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::fixture::{echo, exchange};
use crate::programs::{Daemon, tcpchan};

/// A proxy that gives each CONNECT this answer, and then a connection to `to`. Tells the first
/// line of each.
async fn proxy(answer: &'static [u8], to: SocketAddr) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, lines) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut tcp = BufReader::new(tcp);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                tcp.read_line(&mut head).await.unwrap();
            }
            asked.send(head).await.unwrap();
            tcp.write_all(answer).await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut tcp, &mut server).await
            });
        }
    });
    (addr, lines)
}

#[tokio::test]
async fn the_proxy_gets_the_name_and_the_password() {
    let serve = Daemon::serve(echo().await).await;
    let (proxy, mut heads) = proxy(b"HTTP/1.1 200 OK\r\n\r\n", serve.addr).await;
    // Only the proxy knows this name.
    let args = format!("relay --to no-such-host.invalid:9000 --proxy http://me:p%40ss@{proxy}");
    let relay = Daemon::start(&args).await;
    assert_eq!(exchange(relay.addr, b"hello").await.unwrap(), b"hello");
    let head = heads.recv().await.unwrap();
    assert!(
        head.starts_with("CONNECT no-such-host.invalid:9000 HTTP/1.1\r\n"),
        "{head}"
    );
    // Base64 of me:p@ss.
    assert!(
        head.contains("Proxy-Authorization: Basic bWU6cEBzcw==\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn ping_goes_through_the_proxy() {
    let serve = Daemon::serve(echo().await).await;
    let (proxy, _heads) = proxy(b"HTTP/1.1 200 OK\r\n\r\n", serve.addr).await;
    let ping = format!("ping no-such-host.invalid:1 -c 1 --proxy http://{proxy}");
    assert!(tcpchan(&ping).output().await.unwrap().status.success());
}

/// What a relay says of a proxy that answers this.
async fn says(answer: &'static [u8], auth: &str, text: &str) {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (proxy, _heads) = proxy(answer, nowhere.local_addr().unwrap()).await;
    let args = format!("relay --to a:1 --proxy http://{auth}{proxy}");
    let mut relay = Daemon::start(&args).await;
    exchange(relay.addr, b"hello").await.unwrap_err();
    relay.says(&format!("the proxy {proxy} {text}")).await;
}

#[tokio::test]
async fn what_the_proxy_says_is_told() {
    let wants = b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n";
    says(wants, "", "wants USER:PASSWORD@ before the host of --proxy").await;
    says(wants, "me:no@", "does not accept the user and password").await;
    let forbidden = b"HTTP/1.1 403 Forbidden\r\n\r\n";
    says(forbidden, "", r"does not connect to a:1: HTTP/1.1 403 For").await;
    says(b"SSH-2.0-OpenSSH\r\n", "", "does not speak HTTP").await;
}

#[tokio::test]
async fn a_header_without_end_is_an_error() {
    const HEADER: [u8; 16 << 10] = {
        let mut header = [b'x'; 16 << 10];
        let start = b"HTTP/1.1 200 OK\r\nx: ";
        let mut at = 0;
        while at < start.len() {
            header[at] = start[at];
            at += 1;
        }
        header
    };
    says(&HEADER, "", "answered with a header of more than 8 KiB").await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_has_no_use_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    for scheme in ["http", "socks5"] {
        let args = format!("relay --to a:1 --proxy {scheme}://{addr}");
        let mut relay = Daemon::start(&args).await;
        exchange(relay.addr, b"hello").await.unwrap_err();
        relay
            .says(&format!("the proxy {addr} can't be reached: "))
            .await;
    }
    for url in [
        "https://me:secret@a:1",
        "ftp://me:secret@a:1",
        "http://me:secret@a",
        "::",
    ] {
        let args = format!("relay --listen 127.0.0.1:0 --to a:1 --proxy {url}");
        let output = tcpchan(&args).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--proxy: it must"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
