//! Where one side speaks TLS and the other does not, or their ALPN differs, the error
//! says what to change.
#![cfg(all(feature = "axum", feature = "client", feature = "tls"))]

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use axum::serve::Listener;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, PeerInfo, SharedPort, Tls};
use tcpchan::{ALPN, Config};
use tokio::net::TcpListener;

use crate::certs::Authority;
use crate::guard::within;

/// What a client of a server is told, by all errors in a row.
async fn told<C>(connector: C, addr: SocketAddr) -> String
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let uri = format!("https://{addr}/").parse().unwrap();
    let error = within(client.get(uri)).await.unwrap_err();
    let (mut text, mut next) = (String::new(), Some(&error as &dyn Error));
    while let Some(error) = next {
        text += &format!("{error}; ");
        next = error.source();
    }
    text
}

/// hyper-rustls's connector with this ALPN.
fn own(authority: &Authority, alpn: &[u8]) -> HttpsConnector<HttpConnector> {
    let mut config = authority.client();
    config.alpn_protocols = vec![alpn.to_vec()];
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    (http, config).into()
}

fn answering<L>(listener: L)
where
    L: Listener<Addr = PeerInfo>,
{
    let app = Router::new().route("/", get(|| async { "answer" }));
    tokio::spawn(async { axum::serve(listener, app).await });
}

#[tokio::test]
async fn each_mismatch_of_tls_and_alpn_says_what_to_change() {
    let authority = Authority::new();
    let tls = || Tls::new(authority.server());
    let config = Config::default;
    let bind = || TcpListener::bind("127.0.0.1:0");

    for shared in [false, true] {
        let listener = bind().await.unwrap();
        let addr = listener.local_addr().unwrap();
        match shared {
            false => answering(Acceptor::new(listener).with_config(config())),
            true => answering(SharedPort::new(listener).with_config(config())),
        }
        let connector = Multiplex::new(TlsConnector::new(authority.client()));
        let text = told(connector, addr).await;
        assert!(
            text.contains("the other side speaks no TLS: a server does by"),
            "{text}"
        );
        let text = told(Multiplex::new(own(&authority, ALPN)), addr).await;
        assert!(
            text.contains("the other side speaks no TLS: a server does by"),
            "{text}"
        );

        let listener = bind().await.unwrap();
        let addr = listener.local_addr().unwrap();
        match shared {
            false => answering(
                Acceptor::new(listener)
                    .with_config(config())
                    .with_tls(tls()),
            ),
            true => answering(
                SharedPort::new(listener)
                    .with_config(config())
                    .with_tls(tls()),
            ),
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let text = told(Multiplex::new(http), addr).await;
        assert!(
            text.contains("as of TLS (which this side must speak, too)"),
            "{text}"
        );
        let text = told(Multiplex::new(own(&authority, b"h2")), addr).await;
        assert!(text.contains("must ask for tcpchan::ALPN"), "{text}");
        let text = told(Multiplex::new(own(&authority, b"http/1.1")), addr).await;
        let says = match shared {
            false => "must ask for tcpchan::ALPN",
            true => "(over TLS, the ALPN must ask for tcpchan/1)",
        };
        assert!(text.contains(says), "{text}");
    }
}

/// Of a connector that knows nothing of ALPN the first byte tells.
#[tokio::test]
async fn a_client_without_alpn_is_known_by_its_first_byte_on_a_shared_port() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    answering(SharedPort::new(listener).with_tls(Tls::new(authority.server())));
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = HttpsConnector::from((http, authority.client()));
    let client =
        Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(Multiplex::new(connector));
    let uri = format!("https://{addr}/").parse().unwrap();
    assert!(within(client.get(uri)).await.unwrap().status().is_success());
}
