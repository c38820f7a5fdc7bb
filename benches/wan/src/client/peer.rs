//! A client of one way, that has no connection yet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Builder, Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tcpchan::client::{Multiplex, TlsConnector};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};

use super::quic::QuicConnector;
use crate::conditions::Congestion;
use crate::payload::{self, Check};
use crate::server::plain::{self, UPLOAD};
use crate::tls::Identity;
use crate::way::{Kind, LARGE_WINDOW, Way};

/// Cheap to clone; clones share the connections.
#[derive(Clone)]
pub enum Peer {
    Http(Arc<dyn Requests>, Arc<Semaphore>, Way),
    Tcp(Arc<Mutex<Option<BufReader<TcpStream>>>>, Way),
}

impl Peer {
    pub fn new(way: Way, identity: &Identity, congestion: Congestion) -> Result<Self> {
        let builder = builder(way.kind);
        let client: Arc<dyn Requests> = match (way.kind, way.tls) {
            (Kind::Tcp, _) => return Ok(Peer::Tcp(Arc::default(), way)),
            (Kind::Quic, _) => {
                Arc::new(builder.build(QuicConnector::new(way.address(), identity, congestion)?))
            }
            (kind, false) if kind.is_tcpchan() => {
                let multiplex = Multiplex::new(tcp()).with_config(kind.config());
                Arc::new(builder.build(multiplex.with_pool(kind.pool()?)))
            }
            (kind, true) if kind.is_tcpchan() => {
                let connector = TlsConnector::new(identity.client()?);
                let multiplex = Multiplex::new(connector).with_config(kind.config());
                Arc::new(builder.build(multiplex.with_pool(kind.pool()?)))
            }
            (_, false) => Arc::new(builder.build(tcp())),
            (_, true) => Arc::new(builder.build(tls(way, identity)?)),
        };
        let limit = Semaphore::new(way.kind.at_once());
        Ok(Peer::Http(client, Arc::new(limit), way))
    }

    /// Fetches a body of this length, and checks it.
    pub async fn get(&self, length: u64) -> Result<()> {
        match self {
            Peer::Http(client, limit, way) => {
                let _permit = limit.acquire().await?;
                get(&**client, *way, length).await
            }
            Peer::Tcp(stream, way) => {
                let mut stream = stream.lock().await;
                let stream = connected(&mut stream, *way).await?;
                stream.get_mut().write_u64(length).await?;
                plain::receive(stream, length).await
            }
        }
    }

    /// A stream that has an event after each such time.
    pub async fn events(&self, every: Duration) -> Result<Response<Incoming>> {
        let Peer::Http(client, _, way) = self else {
            bail!("plain TCP has no event stream");
        };
        let path = format!("events/{}", every.as_millis());
        let request = Request::get(uri(*way, &path)?).body(Body::empty())?;
        Ok(client.send(request).await?)
    }

    pub fn way(&self) -> Way {
        match self {
            Peer::Http(.., way) | Peer::Tcp(_, way) => *way,
        }
    }

    /// Sends a body of this length, and checks that the server had it all.
    pub async fn put(&self, length: u64) -> Result<()> {
        match self {
            Peer::Http(client, limit, way) => {
                let _permit = limit.acquire().await?;
                put(&**client, *way, length).await
            }
            Peer::Tcp(stream, way) => {
                let mut stream = stream.lock().await;
                let stream = connected(&mut stream, *way).await?;
                stream.get_mut().write_u64(length | UPLOAD).await?;
                plain::send(stream.get_mut(), length).await?;
                ensure!(stream.read_u64().await? == length, "another length");
                Ok(())
            }
        }
    }
}

async fn get(client: &dyn Requests, way: Way, length: u64) -> Result<()> {
    let request = Request::get(uri(way, &format!("bytes/{length}"))?);
    let response = client.send(request.body(Body::empty())?).await?;
    ensure!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    let mut check = Check::default();
    while let Some(frame) = body.frame().await {
        if let Some(bytes) = frame?.data_ref() {
            check.feed(bytes)?;
        }
    }
    check.finish(length)
}

async fn put(client: &dyn Requests, way: Way, length: u64) -> Result<()> {
    let body = Body::from_stream(payload::stream(length));
    let request = Request::post(uri(way, "upload")?).header("content-length", length);
    let response: Response<Incoming> = client.send(request.body(body)?).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(answer == length.to_string(), "{status}: {answer:?}");
    Ok(())
}

fn uri(way: Way, path: &str) -> Result<Uri> {
    let scheme = if way.tls { "https" } else { "http" };
    Ok(format!("{scheme}://{}/{path}", way.address()).parse()?)
}

/// hyper-util's client, whatever its connector.
pub trait Requests: Send + Sync {
    fn send(&self, request: Request<Body>) -> ResponseFuture;
}

impl<C: Connect + Clone + Send + Sync + 'static> Requests for Client<C, Body> {
    fn send(&self, request: Request<Body>) -> ResponseFuture {
        self.request(request)
    }
}

fn builder(kind: Kind) -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    match kind {
        Kind::H1New | Kind::Quic => builder.pool_max_idle_per_host(0),
        Kind::H2 => builder.http2_only(true),
        Kind::H2Adaptive => builder.http2_only(true).http2_adaptive_window(true),
        Kind::H2Large => builder
            .http2_only(true)
            .http2_initial_stream_window_size(LARGE_WINDOW)
            .http2_initial_connection_window_size(LARGE_WINDOW),
        Kind::TcpchanPooled | Kind::H1Pool | Kind::H1Sixteen | Kind::Tcp => &mut builder,
        Kind::Tcpchan
        | Kind::TcpchanSystem
        | Kind::TcpchanOne
        | Kind::TcpchanFour
        | Kind::TcpchanEight => builder.pool_max_idle_per_host(0),
    };
    builder
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector
}

fn tls(way: Way, identity: &Identity) -> Result<HttpsConnector<HttpConnector>> {
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(identity.client()?)
        .https_only();
    Ok(match way.kind {
        Kind::H2 | Kind::H2Large | Kind::H2Adaptive => builder.enable_http2().wrap_connector(tcp()),
        _ => builder.enable_http1().wrap_connector(tcp()),
    })
}

async fn connected(
    slot: &mut Option<BufReader<TcpStream>>,
    way: Way,
) -> Result<&mut BufReader<TcpStream>> {
    let stream = match slot.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(way.address()).await?;
            stream.set_nodelay(true)?;
            BufReader::with_capacity(64 << 10, stream)
        }
    };
    Ok(slot.insert(stream))
}
