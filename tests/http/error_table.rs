//! The quick start's tables of errors: each text has a row, and each row a text.
#![cfg(all(feature = "axum", feature = "tls"))]

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Discovery, Multiplex, PoolConfig, TlsConnector};
use tcpchan::proto::{ChannelError, ConnectionError, ErrorCode, OpenError};
use tcpchan::server::{Acceptor, Tls};
use tcpchan::{Config, Protocol};
use tokio::net::TcpListener;
use tower::service_fn;

use crate::certs::Authority;
use crate::guard::within;

const PAGE: &str = include_str!("../../src/guide/quick_start.md");

/// Of the compiler, of rustls where it has no provider, and of callers in a crowd.
const ELSEWHERE: [&str; 7] = [
    "Acceptor: Listener",
    "PeerIo<Channel>: Connected",
    "SocketAddr: Connected<IncomingStream<Acceptor>>",
    "Could not automatically determine the process-level CryptoProvider",
    "callers wait already",              // tests/http/retry.rs
    "TLS chose tcpchan, which is off",   // tests/http/fallback
    "the server has changed to tcpchan", // tests/http/fallback
];

/// The texts in the first column.
fn rows() -> Vec<&'static str> {
    let (_, tables) = PAGE.split_once("# What an error means").unwrap();
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

/// The rows that are about this text.
fn rows_of(text: &str) -> BTreeSet<&'static str> {
    let found: BTreeSet<_> = rows()
        .into_iter()
        .filter(|row| text.contains(row))
        .collect();
    assert!(!found.is_empty(), "no row is about: {text}");
    found
}

fn texts(error: impl Error + 'static) -> String {
    let first: &dyn Error = &error;
    let errors = std::iter::successors(Some(first), |&error| error.source());
    errors.map(|error| format!("{error}; ")).collect()
}

/// What a client of this connector is told.
async fn told<C>(connector: C, scheme: &str, addr: impl Display) -> String
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let uri = format!("{scheme}://{addr}/").parse().unwrap();
    texts(within(client.get(uri)).await.unwrap_err())
}

fn multiplex() -> Multiplex<HttpConnector> {
    Multiplex::new(HttpConnector::new())
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn tcpchan(config: Config) -> SocketAddr {
    let (listener, addr) = listen().await;
    serve(Acceptor::new(listener).with_config(config));
    addr
}

async fn tls(tls: Tls) -> SocketAddr {
    let (listener, addr) = listen().await;
    serve(Acceptor::new(listener).with_tls(tls));
    addr
}

fn serve(acceptor: Acceptor) {
    let app = Router::new().route("/", get(|| async {}));
    tokio::spawn(async { axum::serve(acceptor, app).await });
}

async fn plain_http() -> SocketAddr {
    let (listener, addr) = listen().await;
    let app = Router::new().route("/", get(|| async {}));
    tokio::spawn(async { axum::serve(listener, app).await });
    addr
}

/// Accepts connections and ends each at once.
async fn ends() -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    addr
}

/// A server whose application takes no channel.
async fn refuses() -> SocketAddr {
    let (listener, addr) = listen().await;
    let mut acceptor = Acceptor::new(listener);
    tokio::spawn(async move {
        loop {
            drop(acceptor.accept().await);
        }
    });
    addr
}

/// hyper-rustls's connector, which asks for HTTP.
fn asks_for_http(authority: &Authority) -> HttpsConnector<HttpConnector> {
    let mut config = authority.client();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    (http, config).into()
}

/// What goes wrong when a connection is made, for real.
async fn of_mismatches() -> Vec<(&'static str, String)> {
    let authority = Authority::new();
    let speaks_tls = || Multiplex::new(TlsConnector::new(authority.client()));
    let (listener, down) = listen().await;
    drop(listener);
    let (silent, mute) = listen().await;
    let soon = Duration::from_millis(50);
    let impatient = PoolConfig::default().open_timeout(soon).unwrap();
    let awaits = impatient.clone().await_hello(true);
    let hasty = Config::default().handshake_timeout(soon).unwrap();
    let v0 = Config::default().protocol(Protocol::V0);
    let picky = Tls::new(authority.server_for_known_clients());
    let lenient = tls(Tls::new(authority.server())).await;

    let (gone, other) = (down, SocketAddr::from(([127, 0, 0, 2], down.port())));
    let resolver = move |name: Name| async move {
        match name.as_str() {
            "down" => Ok(vec![gone, other].into_iter()),
            _ => Err(std::io::Error::other("no such name")),
        }
    };
    let discovery = Discovery::default().resolver(service_fn(resolver));
    let resolves = || multiplex().with_discovery(discovery.clone());

    let found = vec![
        ("addresses fail", told(resolves(), "http", "down").await),
        (
            "its name could not be resolved",
            told(resolves(), "http", "nowhere").await,
        ),
        ("the dial failed", told(multiplex(), "http", down).await),
        (
            "no channel to the target within",
            told(multiplex().with_pool(awaits), "http", mute).await,
        ),
        (
            "the peer's hello did not come in time",
            told(multiplex().with_config(hasty), "http", mute).await,
        ),
        (
            "its first byte is 0x48, as of plain HTTP",
            told(multiplex(), "http", plain_http().await).await,
        ),
        ("as of TLS", told(multiplex(), "http", lenient).await),
        (
            "invalid HTTP version parsed",
            told(
                HttpConnector::new(),
                "http",
                tcpchan(Config::default()).await,
            )
            .await,
        ),
        (
            "received fatal alert",
            told(speaks_tls(), "https", tls(picky).await).await,
        ),
        (
            "the other side speaks no TLS",
            told(speaks_tls(), "https", tcpchan(Config::default()).await).await,
        ),
        (
            "an https URI needs TLS",
            told(multiplex(), "https", lenient).await,
        ),
        (
            "NoApplicationProtocol",
            told(Multiplex::new(asks_for_http(&authority)), "https", lenient).await,
        ),
        (
            "the connection was lost before the peer's hello",
            told(multiplex(), "http", ends().await).await,
        ),
        (
            "set Config::protocol to",
            told(multiplex(), "http", tcpchan(v0).await).await,
        ),
        (
            "the peer refused the channel",
            told(multiplex(), "http", refuses().await).await,
        ),
    ];
    drop(silent);
    found
}

/// Each error of the core.
fn of_the_core() -> Vec<String> {
    let text = || "text".to_owned();
    let transport = || std::io::Error::other(text()).into();
    let connection = [
        ConnectionError::Closed,
        ConnectionError::PeerClosed {
            code: ErrorCode::PROTOCOL,
            text: text(),
        },
        ConnectionError::Violation {
            code: ErrorCode::PROTOCOL,
            text: text(),
        },
        ConnectionError::Lost(transport()),
        ConnectionError::NoHello(transport()),
        ConnectionError::HandshakeTimeout,
        ConnectionError::Dead,
        ConnectionError::OutOfMemory,
        ConnectionError::Abandoned,
    ];
    let channel = [
        ChannelError::Reset(1),
        ChannelError::Stopped(1),
        ChannelError::Refused(None),
        ChannelError::Refused(Some(ConnectionError::Dead)),
        ChannelError::Ended,
        ChannelError::TooSlow,
        ChannelError::Unknown,
    ];
    let open = [OpenError::Blocked, OpenError::Draining];
    let connection = connection.iter().map(ToString::to_string);
    let channel = channel.iter().map(ToString::to_string);
    let open = open.iter().map(ToString::to_string);
    connection.chain(channel).chain(open).collect()
}

#[tokio::test]
async fn each_text_has_a_row_and_each_row_a_text() {
    let mut met: BTreeSet<&str> = ELSEWHERE.into();
    for (row, text) in of_mismatches().await {
        assert!(rows_of(&text).contains(row), "{row}: {text}");
        met.insert(row);
    }
    for text in of_the_core() {
        met.extend(rows_of(&text));
    }
    assert_eq!(met, rows().into_iter().collect());
}
