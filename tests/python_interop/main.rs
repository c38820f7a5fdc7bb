//! Over real TCP, against the real Python package `tcpchan` from PyPI, and against a peer of
//! version 1 in Python.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use process::{Python, soon};

mod process;
mod steps;
mod version_1;

fn config(protocol: Protocol) -> Config {
    Config::default().protocol(protocol)
}

async fn connect(addr: SocketAddr, config: Config) -> Connection {
    Connection::client(TcpStream::connect(addr).await.unwrap(), config)
}

/// The server side of the next connection.
async fn accept(listener: &TcpListener, config: Config) -> Connection {
    let (stream, _) = soon(listener.accept()).await.unwrap();
    Connection::server(stream, config)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn sample(len: usize) -> Vec<u8> {
    let byte = |i: usize| (i.wrapping_mul(i) >> 7) as u8;
    (0..len).map(byte).collect()
}

/// Writes in pieces of these sizes in turn and reads the echo.
async fn echo(channel: Channel, data: &[u8], sizes: &[usize]) {
    let (mut reader, mut writer) = channel.into_split();
    let write = async {
        let (mut rest, mut sizes) = (data, sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            writer.write_all(piece).await.unwrap();
            rest = after;
        }
    };
    let read = async {
        let mut got = vec![0; data.len()];
        reader.read_exact(&mut got).await.unwrap();
        assert!(got == data);
    };
    soon(async { tokio::join!(write, read) }).await;
}

/// Echoes on every channel that the peer opens.
async fn serve_echo(connection: Connection) {
    while let Some(channel) = connection.accept().await {
        tokio::spawn(async move {
            let (mut reader, mut writer) = channel.into_split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_client_gets_a_mebibyte_back_in_pieces_of_every_size() {
    let (_python, addr) = Python::serve("echo_peer.py", "").await;
    for protocol in [Protocol::V0, Protocol::Auto] {
        let connection = connect(addr, config(protocol)).await;
        let data = sample(1 << 20);
        for sizes in [
            &[1, 2, 3, 5, 1000, 16_384][..],
            &[16_383, 16_384, 16_385],
            &[65_535],
            &[65_536, 1],
            &[1 << 20],
        ] {
            echo(connection.open().await.unwrap(), &data, sizes).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_client_has_100_channels_at_once() {
    let (_python, addr) = Python::serve("echo_peer.py", "").await;
    let connection = connect(addr, config(Protocol::Auto)).await;
    let mut echoes = JoinSet::new();
    for _ in 0..100 {
        let channel = connection.open().await.unwrap();
        echoes.spawn(async { echo(channel, &sample(20_000), &[7000]).await });
    }
    assert_eq!(echoes.join_all().await.len(), 100);
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_python_server_opens_100_channels_to_a_client() {
    let (mut python, addr) = Python::serve("echo_peer.py", "--open 100 --size 100000").await;
    let connection = connect(addr, config(Protocol::Auto)).await;
    tokio::spawn(serve_echo(connection));
    assert_eq!(python.wait_for("checked").await["channels"], 100);
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_python_client_gets_mebibytes_back_in_pieces_of_every_size() {
    for protocol in [Protocol::V0, Protocol::Auto] {
        let (listener, addr) = listen().await;
        let mut python = Python::dial("echo_peer.py", addr, "--open 3");
        tokio::spawn(serve_echo(accept(&listener, config(protocol)).await));
        python.wait_for("checked").await;
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn both_sides_open_100_channels_at_once() {
    let (listener, addr) = listen().await;
    let mut python = Python::dial("echo_peer.py", addr, "--open 100 --size 20000");
    let connection = accept(&listener, config(Protocol::Auto)).await;
    tokio::spawn(serve_echo(connection.clone()));
    let mut echoes = JoinSet::new();
    for _ in 0..100 {
        let channel = connection.open().await.unwrap();
        echoes.spawn(async { echo(channel, &sample(20_000), &[7000]).await });
    }
    assert_eq!(soon(echoes.join_all()).await.len(), 100);
    assert_eq!(python.wait_for("checked").await["channels"], 100);
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_close_of_the_python_side_is_the_end_behind_its_bytes() {
    let (_python, addr) = Python::serve("echo_peer.py", "--close-after 5").await;
    let connection = connect(addr, config(Protocol::V0)).await;
    let mut channel = connection.open().await.unwrap();
    channel.write_all(b"hello").await.unwrap();
    let mut got = Vec::new();
    soon(channel.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"hello");
    assert!(channel.write_all(b"more").await.is_err());
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_drop_closes_the_channel_on_the_python_side_and_a_shutdown_does_not() {
    let (mut python, addr) = Python::serve("echo_peer.py", "").await;
    let connection = connect(addr, config(Protocol::V0)).await;
    let mut channel = connection.open().await.unwrap();
    channel.write_all(b"hello").await.unwrap();
    channel.shutdown().await.unwrap();
    let mut got = [0; 5];
    soon(channel.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"hello");
    let id = channel.id();
    drop(channel);
    assert_eq!(python.wait_for("closed").await["channel"], id);
    echo(connection.open().await.unwrap(), b"goes on", &[7]).await;
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_magic_of_ones_own_connects_in_both_roles() {
    let own = config(Protocol::Auto).magic(0x0102_0304);
    let (_server, addr) = Python::serve("echo_peer.py", "--magic 0x01020304").await;
    let connection = connect(addr, own.clone()).await;
    echo(connection.open().await.unwrap(), b"hello", &[5]).await;

    let (listener, addr) = listen().await;
    let args = "--magic 0x01020304 --open 1 --size 10";
    let mut client = Python::dial("echo_peer.py", addr, args);
    tokio::spawn(serve_echo(accept(&listener, own).await));
    client.wait_for("checked").await;
}

/// What a reader is told.
async fn failure(connection: &Connection) -> String {
    let mut channel = connection.open().await.unwrap();
    let error = soon(channel.read_u8()).await.unwrap_err();
    error.to_string()
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_wrong_magic_at_a_python_server_is_an_error_that_asks_about_it() {
    let wrong = config(Protocol::V0).magic(7);
    let short = wrong.handshake_timeout(Duration::from_secs(2)).unwrap();
    for args in ["", "--patient"] {
        let (_python, addr) = Python::serve("echo_peer.py", args).await;
        let error = failure(&connect(addr, short.clone()).await).await;
        assert!(error.contains("magic"), "{args}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_wrong_magic_of_a_python_client_is_an_error_that_names_both() {
    let (listener, addr) = listen().await;
    let mut python = Python::dial("echo_peer.py", addr, "--magic 7");
    let connection = accept(&listener, config(Protocol::Auto)).await;
    assert!(soon(connection.accept()).await.is_none());
    let error = connection.error().unwrap().to_string();
    assert!(
        error.contains("0x00000007") && error.contains("0xfeedbacc"),
        "{error}"
    );
    python.wait_for("lost").await;
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_version_1_client_of_a_python_server_is_told_both_versions_and_the_setting() {
    let (_python, addr) = Python::serve("echo_peer.py", "").await;
    let error = failure(&connect(addr, Config::default()).await).await;
    for word in ["version 0", "version 1", "Config::protocol"] {
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_version_1_server_of_a_python_client_is_told_both_versions_and_the_setting() {
    let (listener, addr) = listen().await;
    let mut python = Python::dial("echo_peer.py", addr, "");
    let connection = accept(&listener, Config::default()).await;
    assert!(soon(connection.accept()).await.is_none());
    let error = connection.error().unwrap().to_string();
    for word in ["version 0", "version 1", "Config::protocol"] {
        assert!(error.contains(word), "{error}");
    }
    python.wait_for("lost").await;
}

type HttpClient = Client<Multiplex<HttpConnector>, Full<Bytes>>;

fn http_client(protocol: Protocol) -> HttpClient {
    let connector = Multiplex::new(HttpConnector::new()).with_config(config(protocol));
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Many requests at a time, whose answers must end in their own bodies.
async fn ask(client: HttpClient, uri: String, requests: usize, prefix: &'static str) {
    let mut asks = JoinSet::new();
    for i in 0..requests {
        let (client, uri) = (client.clone(), uri.clone());
        asks.spawn(async move {
            let body = sample(i * 5000);
            let request = Request::post(uri).body(Full::from(body.clone())).unwrap();
            let response = client.request(request).await.unwrap();
            let answer = response.into_body().collect().await.unwrap().to_bytes();
            assert!(answer == [prefix.as_bytes(), &body].concat());
        });
    }
    assert_eq!(soon(asks.join_all()).await.len(), requests);
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn a_hyper_client_gets_right_answers_from_a_handler_in_python_channels() {
    let (_python, addr) = Python::serve("http_peer.py", "").await;
    let client = http_client(Protocol::V0);
    for _ in 0..2 {
        let uri = format!("http://{addr}/where");
        ask(client.clone(), uri, 50, "POST /where ").await;
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn python_and_version_1_clients_share_the_port_of_an_axum_app() {
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async { body }));
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener).with_config(config(Protocol::Auto));
    tokio::spawn(async { axum::serve(acceptor, app).await });

    let mut python = Python::dial("http_peer.py", addr, "--channels 20 --requests 5");
    let uri = format!("http://{addr}/echo");
    let version_1 = ask(http_client(Protocol::V1), uri.clone(), 50, "");
    let auto = ask(http_client(Protocol::Auto), uri, 50, "");
    let (checked, (), ()) = tokio::join!(python.wait_for("checked"), version_1, auto);
    assert_eq!(checked["channels"], 20);
}
