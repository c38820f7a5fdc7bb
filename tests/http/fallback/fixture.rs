//! Servers of each kind, on a port that they share one after another.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Version;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tcpchan::client::{Fallback, FallbackConfig, Multiplex, TlsConnector, is_retryable};
use tcpchan::server::{Acceptor, PeerInfo, SharedPort, Tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::certs::Authority;
use crate::guard::within;

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcpchan,
    /// HTTP/2 over TLS if the client has it, else HTTP/1.1.
    Http,
    /// HTTP/1.1 without ALPN.
    NoAlpn,
    Shared,
}

/// How often each path was asked for, on all servers of a port, and how many connections of
/// HTTP came.
#[derive(Clone, Default)]
pub struct Seen {
    pub paths: Arc<Mutex<HashMap<String, usize>>>,
    pub http: Arc<AtomicUsize>,
    /// The connection and the number of each channel.
    pub channels: Arc<Mutex<HashSet<(u64, u32)>>>,
}

impl Seen {
    pub fn http(&self) -> usize {
        self.http.load(SeqCst)
    }
}

/// A port whose listener stays while its servers come and go.
pub struct Port {
    listener: std::net::TcpListener,
    pub addr: SocketAddr,
    tls: Option<ServerConfig>,
    pub seen: Seen,
    stop: Option<watch::Sender<bool>>,
}

/// Tells how a request came.
async fn way(State(seen): State<Seen>, request: Request) -> String {
    let path = request.uri().path().to_owned();
    *seen.paths.lock().unwrap().entry(path).or_default() += 1;
    let peer = request.extensions().get::<ConnectInfo<PeerInfo>>();
    match (peer, request.version()) {
        (Some(ConnectInfo(peer)), _) if peer.connection > 0 => {
            let mut channels = seen.channels.lock().unwrap();
            channels.insert((peer.connection, peer.channel));
            "channel".to_owned()
        }
        (_, Version::HTTP_2) => "h2".to_owned(),
        _ => "http/1.1".to_owned(),
    }
}

fn app(seen: &Seen) -> Router {
    Router::new().fallback(get(way)).with_state(seen.clone())
}

impl Port {
    pub async fn plain() -> Port {
        Port::new(None)
    }

    pub async fn tls(authority: &Authority) -> Port {
        Port::new(Some(authority.server()))
    }

    fn new(tls: Option<ServerConfig>) -> Port {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, stop) = (Seen::default(), None);
        Port {
            listener,
            addr,
            tls,
            seen,
            stop,
        }
    }

    pub fn listener(&self) -> TcpListener {
        TcpListener::from_std(self.listener.try_clone().unwrap()).unwrap()
    }

    pub fn uri(&self, path: &str) -> Uri {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://{}/{path}", self.addr);
        uri.parse().unwrap()
    }

    /// The server stops in order: what has begun is served.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// The next server.
    pub fn serve(&mut self, kind: Kind) {
        self.stop();
        let (stop, stopped) = watch::channel(false);
        self.stop = Some(stop);
        let (listener, seen) = (self.listener(), self.seen.clone());
        match (kind, self.tls.clone()) {
            (Kind::Tcpchan, tls) => {
                let acceptor = Acceptor::new(listener);
                let acceptor = match tls {
                    Some(tls) => acceptor.with_tls(Tls::new(tls)),
                    None => acceptor,
                };
                channels(acceptor, &seen, stopped);
            }
            (Kind::Shared, tls) => {
                let port = SharedPort::new(listener);
                let port = match tls {
                    Some(mut tls) => {
                        tls.alpn_protocols = http_protocols();
                        port.with_tls(Tls::new(tls))
                    }
                    None => port,
                };
                shared(port, &seen, stopped);
            }
            (kind, tls) => {
                let tls = tls.map(|mut tls| {
                    if kind == Kind::Http {
                        tls.alpn_protocols = http_protocols();
                    }
                    TlsAcceptor::from(Arc::new(tls))
                });
                tokio::spawn(http(listener, tls, seen, stopped));
            }
        }
    }
}

fn http_protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

fn channels(acceptor: Acceptor, seen: &Seen, mut stopped: watch::Receiver<bool>) {
    let service = app(seen).into_make_service_with_connect_info::<PeerInfo>();
    let drain = acceptor.drain_handle();
    let serve = |stop| axum::serve(acceptor, service).with_graceful_shutdown(stop);
    tokio::spawn(async move {
        let signal = async move { while stopped.changed().await.is_ok() {} };
        let _ = drain
            .serve_until(signal, Duration::from_secs(60), serve)
            .await;
    });
}

fn shared(port: SharedPort, seen: &Seen, mut stopped: watch::Receiver<bool>) {
    let service = app(seen).into_make_service_with_connect_info::<PeerInfo>();
    let drain = port.drain_handle();
    let serve = |stop| axum::serve(port, service).with_graceful_shutdown(stop);
    tokio::spawn(async move {
        let signal = async move { while stopped.changed().await.is_ok() {} };
        let _ = drain
            .serve_until(signal, Duration::from_secs(60), serve)
            .await;
    });
}

/// Connections that were taken go on to their end.
async fn http(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    seen: Seen,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let tcp = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            tcp = listener.accept() => tcp.unwrap().0,
        };
        seen.http.fetch_add(1, SeqCst);
        let (tls, app) = (tls.clone(), app(&seen));
        tokio::spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(tls) = tls.accept(tcp).await {
                        serve_http(tls, app).await;
                    }
                }
                None => serve_http(tcp, app).await,
            }
        });
    }
}

async fn serve_http(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, app: Router) {
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(app));
    let _ = served.await; // however it ends
}

pub type OverTls = Fallback<TlsConnector<HttpConnector>>;
pub type Plain = Fallback<HttpConnector>;

/// A client that has HTTP/2, too.
pub fn over_tls(authority: &Authority) -> OverTls {
    let mut config = authority.client();
    config.alpn_protocols = http_protocols();
    Fallback::tls(Multiplex::new(TlsConnector::new(config)))
}

pub fn over_tls_http_1(authority: &Authority) -> OverTls {
    Fallback::tls(Multiplex::new(TlsConnector::new(authority.client())))
}

pub fn asks() -> FallbackConfig {
    FallbackConfig::default().first_answer(true)
}

pub fn plain() -> Plain {
    Fallback::new(Multiplex::new(HttpConnector::new())).with_config(asks())
}

pub type Http<C> = Client<C, Empty<Bytes>>;

pub fn client<C: Connect + Clone>(connector: C) -> Http<C> {
    Client::builder(TokioExecutor::new()).build(connector)
}

/// One that has each request call the connector.
pub fn without_pool<C: Connect + Clone>(connector: C) -> Http<C> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_max_idle_per_host(0).build(connector)
}

/// How the request came to the server.
pub async fn ask<C>(client: &Http<C>, uri: Uri) -> Result<String, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let response = within(client.get(uri)).await?;
    let body = within(response.into_body().collect()).await;
    let body = body.unwrap().to_bytes().to_vec();
    Ok(String::from_utf8(body).unwrap())
}

/// The same, again for as long as the request provably did not reach a server.
pub async fn ask_until_done<C>(client: &Http<C>, uri: Uri) -> String
where
    C: Connect + Clone + Send + Sync + 'static,
{
    loop {
        match ask(client, uri.clone()).await {
            Ok(way) => return way,
            Err(error) => assert!(is_retryable(&error), "{error:?}"),
        }
    }
}
