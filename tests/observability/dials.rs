//! Each dial that fails is one event with its cause and its time, and counts by its cause;
//! one succeeds by the peer's hello. Of a process 20 such events a minute are warnings, so
//! these tests are fewer.
#![cfg(all(
    feature = "client",
    feature = "server",
    feature = "metrics",
    feature = "tls",
    feature = "tracing"
))]

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::client::{Multiplex, PoolConfig, TlsConnector};
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tower::{Service, service_fn};
use tracing::Level;

use crate::certs::Authority;
use crate::guard::within;
use crate::log::Log;
use crate::scrape::{recorder, sum, value};
use crate::started::started;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Waits for the one event and the one count of a dial that failed.
async fn fails(kind: &str, log: &Log, metrics: &PrometheusHandle) -> String {
    let told = || log.text().contains("the dial failed");
    within(async {
        while !told() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let kind_field = format!("error.type=\"{kind}\"");
    let line = log.line(&["WARN", "the dial failed", " took_ms="]);
    assert!(line.contains(&kind_field), "{line}");
    let name = format!("tcpchan_dial_duration_seconds_count{{error_type=\"{kind}\"}}");
    assert_eq!(value(metrics, &name), 1.0, "{name}");
    line
}

/// The same, of one that a call of this connector needs.
async fn call_fails<C>(connector: Multiplex<C>, uri: &str, kind: &str) -> String
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::DEBUG);
    let call = connector.clone().call(uri.parse().unwrap());
    let call = tokio::spawn(call);
    let line = fails(kind, &log, &metrics).await;
    call.abort();
    line
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn down() -> SocketAddr {
    listen().await.1
}

/// A server that does this with its first connection.
async fn first<F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, addr) = listen().await;
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        serve(tcp).await;
    });
    addr
}

#[tokio::test]
async fn one_that_is_refused() {
    let uri = format!("http://{}", down().await);
    let line = call_fails(Multiplex::new(HttpConnector::new()), &uri, "refused").await;
    assert!(line.contains("server.address=\"127.0.0.1\""), "{line}");
}

#[tokio::test]
async fn one_whose_name_is_not_found() {
    let resolver = service_fn(|_: Name| async {
        Err::<std::iter::Empty<SocketAddr>, _>(io::Error::other("no such name"))
    });
    let connector = HttpConnector::new_with_resolver(resolver);
    call_fails(
        Multiplex::new(connector),
        "http://nowhere.example:80",
        "dns",
    )
    .await;
}

#[tokio::test]
async fn one_to_a_server_of_another_certificate() {
    let server = Authority::new();
    let (listener, addr) = listen().await;
    let tls = tcpchan::server::Tls::new(server.server());
    let _acceptor = started(Acceptor::new(listener).with_tls(tls));
    let connector = Multiplex::new(TlsConnector::new(Authority::new().client()));
    call_fails(connector, &format!("https://{addr}"), "tls").await;
}

/// TLS 1.3 tells the client only after its own part of the handshake.
#[tokio::test]
async fn one_to_a_server_that_wants_a_certificate() {
    let authority = Authority::new();
    let (listener, addr) = listen().await;
    let tls = tcpchan::server::Tls::new(authority.server_for_known_clients());
    let _acceptor = started(Acceptor::new(listener).with_tls(tls));
    let connector = Multiplex::new(TlsConnector::new(authority.client()));
    call_fails(connector, &format!("https://{addr}"), "tls").await;
}

#[tokio::test]
async fn one_to_a_server_that_hangs_up_within_tls() {
    let addr = first(|tcp| async { drop(tcp) }).await;
    let connector = Multiplex::new(TlsConnector::new(Authority::new().client()));
    let kind = "tls";
    call_fails(connector, &format!("https://{addr}"), kind).await;
}

#[tokio::test]
async fn one_to_a_server_that_hangs_up() {
    let addr = first(|tcp| async { drop(tcp) }).await;
    let connector = Multiplex::new(HttpConnector::new());
    call_fails(connector, &format!("http://{addr}"), "hello").await;
}

#[tokio::test]
async fn one_to_a_server_of_another_protocol() {
    let addr = first(|mut tcp| async move {
        tcp.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await; // however it ends
    })
    .await;
    let connector = Multiplex::new(HttpConnector::new());
    call_fails(connector, &format!("http://{addr}"), "hello").await;
}

#[tokio::test]
async fn one_that_panics() {
    let connector = service_fn(|_: Uri| async {
        match std::hint::black_box(true) {
            true => panic!("as it is told to"),
            false => pending::<io::Result<TokioIo<DuplexStream>>>().await,
        }
    });
    call_fails(Multiplex::new(connector), "http://panics.example", "error").await;
}

/// A connector that never answers.
fn silent() -> impl Service<Uri, Response = TokioIo<DuplexStream>, Error = io::Error, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(|_| pending::<io::Result<TokioIo<DuplexStream>>>())
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_answered() {
    let connector = Multiplex::new(silent());
    let line = call_fails(connector, "http://silent.example", "timeout").await;
    assert!(line.contains("took_ms=10"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_little_time() {
    let pool = PoolConfig::default();
    let pool = pool.open_timeout(Duration::from_millis(50)).unwrap();
    let connector = Multiplex::new(silent()).with_pool(pool);
    let line = call_fails(connector, "http://hasty.example", "timeout").await;
    assert!(line.contains("took_ms=50"), "{line}");
}

/// It takes connections, and says nothing.
#[tokio::test(start_paused = true)]
async fn one_to_a_server_that_is_mute_succeeds_never() {
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::DEBUG);
    let (near, _far) = duplex(1 << 16);
    let near = std::sync::Mutex::new(Some(near));
    let near = std::sync::Arc::new(near);
    let connector = service_fn(move |_: Uri| {
        let near = near.lock().unwrap().take().map(TokioIo::new);
        async {
            match near {
                Some(near) => Ok::<_, io::Error>(near),
                None => pending().await,
            }
        }
    });
    let mut connector = Multiplex::new(connector);
    let call = connector.call(Uri::from_static("http://mute.example"));
    let _call = tokio::spawn(call);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(sum(&metrics, "tcpchan_dial_duration_seconds_count"), 0.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mute = "tcpchan_dial_duration_seconds_count{error_type=\"hello\"}";
    assert_eq!(value(&metrics, mute), 1.0);
    log.line(&["WARN", "mute.example", "error.type=\"hello\"", "took_ms=10"]);
}

#[tokio::test]
async fn one_succeeds_with_the_hello_and_is_no_event() {
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::DEBUG);
    let addr = first(|tcp| async {
        let connection = Connection::server(tcp, Config::default());
        while connection.accept().await.is_some() {}
    })
    .await;
    let mut connector = Multiplex::new(HttpConnector::new());
    let uri: Uri = format!("http://{addr}").parse().unwrap();
    connector.prewarm(&uri, 1).await.unwrap();
    let _channel = connector.call(uri).await.unwrap();
    assert_eq!(value(&metrics, "tcpchan_dial_duration_seconds_count"), 1.0);
    assert_eq!(sum(&metrics, "tcpchan_dial_duration_seconds_count"), 1.0);
    assert!(!log.text().contains("the dial failed"), "{}", log.text());
}

/// An acceptor whose dials do this.
async fn dialling_fails<D, T>(dial: impl Fn() -> D + Send + 'static, kind: &str) -> String
where
    D: Future<Output = io::Result<(T, SocketAddr)>> + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::DEBUG);
    let acceptor = started(Acceptor::dialling(dial));
    let line = fails(kind, &log, &metrics).await;
    drop(acceptor);
    line
}

async fn connect(addr: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    Ok((TcpStream::connect(addr).await?, addr))
}

#[tokio::test]
async fn an_acceptors_that_is_refused() {
    let addr = down().await;
    dialling_fails(move || connect(addr), "refused").await;
}

#[tokio::test(start_paused = true)]
async fn an_acceptors_that_is_not_answered() {
    let dial = || pending::<io::Result<(DuplexStream, SocketAddr)>>();
    let line = dialling_fails(dial, "timeout").await;
    assert!(line.contains("took_ms=10"), "{line}");
}

#[tokio::test]
async fn an_acceptors_to_a_hub_that_hangs_up() {
    let addr = first(|tcp| async { drop(tcp) }).await;
    let line = dialling_fails(move || connect(addr), "hello").await;
    assert!(
        line.contains("peer{network.peer.address=127.0.0.1"),
        "{line}"
    );
}

#[tokio::test]
async fn an_acceptors_whose_name_is_not_found() {
    let dial = || async {
        let text = "failed to lookup address information: Name or service not known";
        Err::<(DuplexStream, SocketAddr), _>(io::Error::other(text))
    };
    dialling_fails(dial, "dns").await;
}

#[tokio::test]
async fn an_acceptors_to_a_hub_of_another_certificate() {
    let (hub, stranger) = (Authority::new(), Authority::new());
    let (listener, addr) = listen().await;
    let tls = tcpchan::server::Tls::new(hub.server());
    let _acceptor = started(Acceptor::new(listener).with_tls(tls));
    let config = std::sync::Arc::new(stranger.client());
    let dial = move || {
        let tls = tokio_rustls::TlsConnector::from(config.clone());
        async move {
            let name = addr.ip().into();
            Ok((
                tls.connect(name, TcpStream::connect(addr).await?).await?,
                addr,
            ))
        }
    };
    dialling_fails(dial, "tls").await;
}
