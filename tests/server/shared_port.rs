//! tcpchan and HTTP on one port.
#![cfg(all(feature = "axum", feature = "tls"))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{self, Multiplex};
use tcpchan::server::{PeerInfo, SharedPort, Tls};
use tcpchan::{Config, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::certs::Authority;
use crate::guard::within;
use crate::started::started;

/// An app that says on which channel a request came.
fn serve(port: SharedPort) -> SocketAddr {
    let channel = |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
        format!("{} {}", peer.connection, peer.channel)
    };
    let app = Router::new().route("/", get(channel));
    let addr = port.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(port, service).await });
    addr
}

async fn plain(config: Config) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve(SharedPort::new(listener).with_config(config))
}

async fn tls(authority: &Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = Tls::new(authority.server());
    serve(SharedPort::new(listener).with_tls(tls))
}

async fn get_from<C>(connector: C, uri: String) -> Bytes
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let uri: Uri = uri.parse().unwrap();
    let response = within(client.get(uri)).await.unwrap();
    within(response.into_body().collect())
        .await
        .unwrap()
        .to_bytes()
}

fn https(config: ClientConfig) -> HttpsConnector<HttpConnector> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    HttpsConnector::from((http, config))
}

const CHANNEL: &str = "1 1";
const HTTP: &str = "0 0";

#[tokio::test]
async fn the_first_byte_tells_tcpchan_from_http() {
    let addr = plain(Config::default()).await;
    let uri = || format!("http://{addr}/");
    assert_eq!(get_from(HttpConnector::new(), uri()).await, HTTP);
    let connector = Multiplex::new(HttpConnector::new());
    assert_eq!(get_from(connector, uri()).await, CHANNEL);
}

#[tokio::test]
async fn version_0_is_told_from_http_too() {
    let addr = plain(Config::default().protocol(Protocol::Auto)).await;
    let config = Config::default().protocol(Protocol::V0);
    let connector = Multiplex::new(HttpConnector::new()).with_config(config);
    let body = get_from(connector, format!("http://{addr}/")).await;
    assert!(body.starts_with(b"1 "), "{body:?}");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_http() {
    let addr = plain(Config::default()).await;
    let mut client = Client::builder(TokioExecutor::new());
    let client = client
        .http2_only(true)
        .build::<_, Empty<Bytes>>(HttpConnector::new());
    let uri: Uri = format!("http://{addr}/").parse().unwrap();
    let response = within(client.get(uri)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, HTTP);
}

#[tokio::test]
async fn alpn_tells_tcpchan_from_https() {
    let authority = Authority::new();
    let addr = tls(&authority).await;
    let uri = || format!("https://{addr}/");
    let connector = Multiplex::new(client::TlsConnector::new(authority.client()));
    assert_eq!(get_from(connector, uri()).await, CHANNEL);
    let mut config = authority.client();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(get_from(https(config), uri()).await, HTTP);
}

#[tokio::test]
async fn a_tls_client_without_alpn_is_http() {
    let authority = Authority::new();
    let addr = tls(&authority).await;
    let connector = https(authority.client());
    assert_eq!(get_from(connector, format!("https://{addr}/")).await, HTTP);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let time = Duration::from_millis(100);
    let addr = plain(Config::default().handshake_timeout(time).unwrap()).await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    assert_eq!(within(silent.read(&mut [0])).await.unwrap(), 0);
}

/// A handshake's time here, and several times of it.
const TIME: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_millis(500);

async fn hasty() -> SharedPort {
    let config = Config::default().handshake_timeout(TIME).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    started(SharedPort::new(listener).with_config(config))
}

/// More than wait for `accept` without holding up a handshake.
#[tokio::test]
async fn requests_that_wait_for_the_application_are_not_closed() {
    let mut port = hasty().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(port.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    tokio::time::sleep(LONG).await;
    for _ in &clients {
        let (mut io, _) = within(port.accept()).await;
        io.write_all(b"answer").await.unwrap();
    }
    for mut client in clients {
        let mut answer = [0; 6];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"answer");
    }
}

#[tokio::test]
async fn a_request_without_an_end_of_its_head_is_closed() {
    let port = hasty().await;
    for start in [
        &b"G"[..],
        b"!", // a method may begin so, too
        b"0",
        b"GET / HTTP/1.1\r\nhost: a\r\n",
        b"\x01",
    ] {
        let mut client = TcpStream::connect(port.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(start).await.unwrap();
        let mut rest = Vec::new();
        let _reset = within(client.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn so_is_one_over_tls() {
    let authority = Authority::new();
    let tls = Tls::new(authority.server())
        .handshake_timeout(2 * LONG)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let _port = started(SharedPort::new(listener).with_tls(tls));
    let connector = TlsConnector::from(Arc::new(authority.client()));
    for start in [&b""[..], b"G"] {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut client = within(connector.connect(name, tcp)).await.unwrap();
        client.write_all(start).await.unwrap();
        let closed = within(client.read_u8()).await;
        closed.unwrap_err();
    }
}

#[tokio::test]
async fn a_head_in_pieces_is_a_request() {
    let mut port = hasty().await;
    for pieces in [
        &[&b"G"[..], b"ET / HTTP/1.1\r\n", b"host: a\r\n\r", b"\n"][..],
        &[b"\r\n", b"GET / HTTP/1.0\n", b"\n"],
        &[b"PRI * HTTP/2.0", b"\r\n\r\nSM\r\n\r\n"],
        &[&[b'a'; 20_000]],
    ] {
        let mut client = TcpStream::connect(port.local_addr().unwrap())
            .await
            .unwrap();
        client.set_nodelay(true).unwrap();
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::time::sleep(TIME / 20).await;
        }
        let (mut io, _) = within(port.accept()).await;
        let mut start = [0; 16];
        io.read_exact(&mut start).await.unwrap();
        assert_eq!(start, pieces.concat()[..16]);
    }
}

#[tokio::test]
async fn what_is_neither_is_told_so_by_the_server_of_http() {
    let mut port = hasty().await;
    let mut client = TcpStream::connect(port.local_addr().unwrap())
        .await
        .unwrap();
    client.write_all(b"\x16\x03").await.unwrap();
    let (mut io, _) = within(port.accept()).await;
    assert_eq!(io.read_u8().await.unwrap(), 0x16);
}

/// What a peer has closed stays readable: to look at it again and again would take the
/// thread from all others for ever, so the server has one of its own here.
#[test]
fn the_start_of_a_request_whose_peer_has_closed_is_closed_at_once() {
    use std::io::{Read, Write};
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut port = SharedPort::new(listener);
            tell.send(port.local_addr().unwrap()).unwrap();
            port.accept().await
        })
    });
    let mut client = std::net::TcpStream::connect(told.recv().unwrap()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.set_read_timeout(Some(10 * LONG)).unwrap(); // less than a handshake's time
    match client.read(&mut [0]) {
        Ok(got) => assert_eq!(got, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}
