//! tcpchan over TLS, with real rustls, hyper and axum.
#![cfg(all(feature = "axum", feature = "tls"))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, PeerInfo, Tls};
use tcpchan::{ALPN, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tower::Service;

use crate::certs::Authority;
use crate::guard::within;

/// An app that says on which connection a request came, and by whose
/// certificate.
async fn serve(tls: Tls) -> SocketAddr {
    let connection =
        |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move { peer.connection.to_string() };
    let identity = |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
        let identity = peer.identity.expect("a certificate");
        identity.certificates()[0].to_vec()
    };
    let app = Router::new()
        .route("/connection", get(connection))
        .route("/identity", get(identity));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener).with_tls(tls);
    let addr = acceptor.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });
    addr
}

async fn call<C>(connector: C, addr: SocketAddr, path: &str) -> Result<Bytes, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let uri: Uri = format!("https://{addr}{path}").parse().unwrap();
    let response = within(client.get(uri)).await?;
    Ok(response.into_body().collect().await.unwrap().to_bytes())
}

/// With what error such a call fails.
async fn refusal<C>(connector: C, addr: SocketAddr) -> String
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let error = call(connector, addr, "/connection").await.unwrap_err();
    format!("{error:?}")
}

/// Counts the handshakes.
#[derive(Debug)]
struct Counting(Arc<dyn ResolvesServerCert>, AtomicUsize);

impl ResolvesServerCert for Counting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.1.fetch_add(1, Relaxed);
        self.0.resolve(hello)
    }
}

#[tokio::test]
async fn one_handshake_carries_all_channels() {
    let authority = Authority::new();
    let mut config: ServerConfig = authority.server();
    let counting = Arc::new(Counting(config.cert_resolver, AtomicUsize::new(0)));
    config.cert_resolver = counting.clone();
    let addr = serve(Tls::new(config)).await;
    let connector = Multiplex::new(TlsConnector::new(authority.client()));
    // Before the burst, since a busy machine may take 5 ms for it, and then the pool dials more.
    call(connector.clone(), addr, "/connection").await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        // A client each, so that none reuses another's channel.
        let connector = connector.clone();
        calls.spawn(async move { call(connector, addr, "/connection").await.unwrap() });
    }
    while let Some(body) = calls.join_next().await {
        assert_eq!(body.unwrap(), "1");
    }
    assert_eq!(counting.1.load(Relaxed), 1);
}

#[tokio::test]
async fn hyper_rustls_goes_inside() {
    let authority = Authority::new();
    let addr = serve(Tls::new(authority.server())).await;
    let mut config = authority.client();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = Multiplex::new(HttpsConnector::from((http, config)));
    assert_eq!(call(connector, addr, "/connection").await.unwrap(), "1");
}

#[tokio::test]
async fn a_client_certificate_is_the_peers_identity() {
    let authority = Authority::new();
    let addr = serve(Tls::new(authority.server_for_known_clients())).await;
    let certified = authority.certify("a client");
    let certificate = certified.0.clone();
    let connector = TlsConnector::new(authority.client_with(certified));
    let identity = call(Multiplex::new(connector), addr, "/identity").await;
    assert_eq!(identity.unwrap(), certificate.as_ref());
}

#[tokio::test]
async fn a_client_without_a_certificate_that_is_asked_for_is_refused() {
    let authority = Authority::new();
    let addr = serve(Tls::new(authority.server_for_known_clients())).await;
    let connector = TlsConnector::new(authority.client());
    // TLS 1.3 lets a client begin before the server has looked.
    let error = refusal(Multiplex::new(connector), addr).await;
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_the_server_speaks_it() {
    let addr = serve(Tls::new(Authority::new().server())).await;
    let client =
        Multiplex::new(HttpConnector::new()).call(format!("http://{addr}").parse().unwrap());
    let mut channel = within(client).await.unwrap();
    let error = within(channel.read_u8()).await.unwrap_err();
    assert!(error.to_string().contains("as of TLS"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_refused() {
    let addr = serve(Tls::new(Authority::new().server())).await;
    let connector = TlsConnector::new(Authority::new().client());
    let error = refusal(Multiplex::new(connector), addr).await;
    assert!(error.contains("InvalidCertificate"), "{error}");
}

#[tokio::test]
async fn a_client_that_asks_for_other_protocols_is_refused() {
    let authority = Authority::new();
    let addr = serve(Tls::new(authority.server())).await;
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let error = refusal(HttpsConnector::from((http, config)), addr).await;
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn a_name_may_be_given_for_the_certificate() {
    let authority = Authority::new();
    let addr = serve(Tls::new(authority.server())).await;
    let name = |name: &'static str| {
        let connector = TlsConnector::new(authority.client());
        Multiplex::new(connector.with_server_name(name.try_into().unwrap()))
    };
    assert!(call(name("127.0.0.1"), addr, "/connection").await.is_ok());
    assert!(call(name("else.where"), addr, "/connection").await.is_err());
}

#[test]
fn a_limit_that_can_not_work_is_refused() {
    let authority = Authority::new();
    let tls = || Tls::new(authority.server());
    let errors = [
        tls().max_handshakes(0).unwrap_err(),
        tls().max_handshakes(usize::MAX).unwrap_err(),
        tls().handshake_timeout(Duration::ZERO).unwrap_err(),
        tls().handshake_timeout(Duration::MAX).unwrap_err(),
    ];
    for (error, field) in errors.iter().zip([
        "max_handshakes",
        "max_handshakes",
        "handshake_timeout",
        "handshake_timeout",
    ]) {
        assert!(
            error.to_string().starts_with(&format!("{field} is ")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn peers_that_are_stuck_in_their_handshake_hold_up_no_other() {
    let authority = Authority::new();
    let hour = Duration::from_secs(3600);
    let tls = Tls::new(authority.server()).handshake_timeout(hour);
    let addr = serve(tls.unwrap()).await;
    let mut stuck = Vec::new();
    for _ in 0..50 {
        stuck.push(TcpStream::connect(addr).await.unwrap());
    }
    let connector = Multiplex::new(TlsConnector::new(authority.client()));
    assert!(call(connector, addr, "/connection").await.is_ok());
}

#[tokio::test]
async fn a_handshake_has_its_time_and_then_leaves_its_place_to_another() {
    let authority = Authority::new();
    let tls = Tls::new(authority.server())
        .handshake_timeout(Duration::from_millis(100))
        .and_then(|tls| tls.max_handshakes(1));
    let addr = serve(tls.unwrap()).await;
    let mut stuck = TcpStream::connect(addr).await.unwrap();
    assert_eq!(within(stuck.read(&mut [0])).await.unwrap(), 0);
    let connector = Multiplex::new(TlsConnector::new(authority.client()));
    assert!(call(connector, addr, "/connection").await.is_ok());
}

/// A server whose only handshake is that of a silent peer, and a connector to it.
async fn stuck_handshake() -> (SocketAddr, TcpStream, Multiplex<TlsConnector>) {
    let authority = Authority::new();
    let hour = Duration::from_secs(3600);
    let tls = Tls::new(authority.server())
        .handshake_timeout(hour)
        .and_then(|tls| tls.max_handshakes(1));
    let addr = serve(tls.unwrap()).await;
    let stuck = TcpStream::connect(addr).await.unwrap();
    let connector = TlsConnector::new(authority.client());
    (addr, stuck, Multiplex::new(connector))
}

#[tokio::test]
async fn a_peer_that_is_stuck_in_its_handshake_gives_way_to_another() {
    let (addr, mut stuck, connector) = stuck_handshake().await;
    assert!(call(connector, addr, "/connection").await.is_ok());
    assert_eq!(within(stuck.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn no_more_handshakes_run_than_there_may() {
    let (addr, stuck, connector) = stuck_handshake().await;
    let mut waiting = Box::pin(call(connector, addr, "/connection"));
    let short = Duration::from_millis(200);
    assert!(tokio::time::timeout(short, &mut waiting).await.is_err());
    drop(stuck);
    assert!(waiting.await.is_ok());
}

/// Two ends over TLS, which takes all that is written, and shows that its socket is
/// full when it is flushed; and what has the network between them carry nothing more.
async fn over_a_small_pipe() -> (Connection, Connection, Arc<Notify>) {
    let authority = Authority::new();
    let (near, mut here) = tokio::io::duplex(8 << 10);
    let (mut there, far) = tokio::io::duplex(8 << 10);
    let cut = Arc::new(Notify::new());
    let cuts = cut.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
            () = cuts.notified() => std::future::pending().await,
        }
    });
    let connector = tokio_rustls::TlsConnector::from(Arc::new(authority.client()));
    let acceptor = TlsAcceptor::from(Arc::new(authority.server()));
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    let client = Connection::client(near.unwrap(), Config::default());
    (
        client,
        Connection::server(far.unwrap(), Config::default()),
        cut,
    )
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_slow_once_is_not_one_that_reads_nothing() {
    let (client, server, _cut) = over_a_small_pipe().await;
    let mut sender = client.open().await.unwrap();
    let mut all = vec![0; 40_000];
    sender.write_all(&all).await.unwrap();
    let mut reader = server.accept().await.unwrap();
    reader.read_exact(&mut all).await.unwrap();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sender.write_all(b"x").await.unwrap();
        assert_eq!(reader.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_noticed_though_tls_takes_what_is_written() {
    let (client, server, cut) = over_a_small_pipe().await;
    let mut sender = client.open().await.unwrap();
    sender.write_all(b"x").await.unwrap();
    let mut reader = server.accept().await.unwrap();
    assert_eq!(reader.read_u8().await.unwrap(), b'x');
    cut.notify_one();
    tokio::task::yield_now().await;
    sender.write_all(&[0; 20_000]).await.unwrap();
    let start = tokio::time::Instant::now();
    while sender.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(start.elapsed() < Duration::from_secs(60), "nobody noticed");
    }
}
