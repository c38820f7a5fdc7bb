//! A client and a service with a relay and a serve between them.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::guard::within;
use crate::programs::Daemon;

/// A relay and a serve in front of a service of the test's own.
pub struct Chain {
    pub relay: Daemon,
    pub serve: Daemon,
    pub service: TcpListener,
}

impl Chain {
    pub async fn new() -> Chain {
        Chain::with("", "").await
    }

    /// With further arguments of both.
    pub async fn with(relay: &str, serve: &str) -> Chain {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = service.local_addr().unwrap();
        let serve = Daemon::start(&format!("serve --to {addr} {serve}")).await;
        let relay = Daemon::start(&format!("relay --to {} {relay}", serve.addr)).await;
        Chain {
            relay,
            serve,
            service,
        }
    }

    /// A client's connection, and the service's for it.
    pub async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.relay.addr).await.unwrap();
        let (service, _) = within(self.service.accept()).await.unwrap();
        (client, service)
    }

    /// A client's connection on which a byte has gone each way.
    pub async fn connect_and_talk(&self) -> (TcpStream, TcpStream) {
        let (mut client, mut service) = self.connect().await;
        talk(&mut client, &mut service).await;
        (client, service)
    }
}

/// Sends a byte each way.
pub async fn talk(client: &mut TcpStream, service: &mut TcpStream) {
    client.write_all(b"?").await.unwrap();
    assert_eq!(within(service.read_u8()).await.unwrap(), b'?');
    service.write_all(b"!").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'!');
}

/// Closes a connection by a reset.
pub fn reset(tcp: TcpStream) {
    let linger = Some(Duration::ZERO);
    SockRef::from(&tcp).set_linger(linger).unwrap();
}

/// A service that sends back what it gets, to the end.
pub async fn echo() -> SocketAddr {
    named_echo("").await
}

/// One that sends its name first.
pub async fn named_echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                tcp.write_all(name.as_bytes()).await?;
                let (mut reader, mut writer) = tcp.split();
                tokio::io::copy(&mut reader, &mut writer).await?;
                writer.shutdown().await
            });
        }
    });
    addr
}

/// Sends, ends, and reads to the end.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut client = TcpStream::connect(to).await?;
    client.write_all(bytes).await?;
    client.shutdown().await?;
    let mut got = Vec::new();
    within(client.read_to_end(&mut got)).await?;
    Ok(got)
}
