//! A client that moves to tcpchan before its server. It calls a server of HTTPS as before,
//! finds tcpchan when the server gets it, and goes back by a switch. All in one process, with
//! a certificate that is made on the spot.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use bytes::Bytes;
use http::Version;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tcpchan::client::{Fallback, FallbackConfig, Multiplex, Protocols, TlsConnector};
use tcpchan::server::{PeerInfo, SharedPort, Tls};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

type Connector = Fallback<TlsConnector<HttpConnector>>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The app is the same on each server.
fn app() -> Router {
    Router::new().route("/", get(way))
}

async fn way(request: Request) -> &'static str {
    let peer = request
        .extensions()
        .get::<axum::extract::ConnectInfo<PeerInfo>>();
    match (peer, request.version()) {
        (Some(peer), _) if peer.connection > 0 => "a channel of tcpchan",
        (_, Version::HTTP_2) => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (server, client) = tls()?;
    let connector = Fallback::tls(Multiplex::new(TlsConnector::new(client)));

    let (addr, old) = serve_https(None, server.clone()).await?;
    let way = call(&connector, addr).await?;
    println!("a server of HTTPS: {way}");

    // The next version of the server, on the same port.
    old.stop().await?;
    let (addr, new) = serve_both(Some(addr), server.clone()).await?;
    let way = call(&connector, addr).await?;
    println!("the server has got tcpchan: {way}");

    // An operator turns tcpchan off at the client.
    let off = FallbackConfig::default().protocols(Protocols::Http);
    let way = call(&connector.clone().with_config(off), addr).await?;
    println!("the client has it turned off: {way}");

    // Or the server goes back.
    new.stop().await?;
    let (addr, _old) = serve_https(Some(addr), server).await?;
    let way = call(&connector, addr).await?;
    println!("the server has gone back: {way}");
    for target in connector.stats() {
        let (by_http, speaks_http) = (target.fell_back, target.speaks_http);
        println!("{by_http} connections carried HTTP; it speaks HTTP now: {speaks_http}");
    }
    Ok(())
}

async fn call(connector: &Connector, addr: SocketAddr) -> Result<String> {
    // A client of its own for each call, so that none has a connection in its pool.
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(connector.clone());
    let uri = format!("https://{addr}/").parse()?;
    let body = client.get(uri).await?.into_body().collect().await?;
    Ok(String::from_utf8(body.to_bytes().into())?)
}

/// A server that can be stopped.
struct Serving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Serving {
    fn start<F>(serve: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(stopped));
        Serving { stop, task }
    }

    async fn stop(self) -> Result<()> {
        drop(self.stop);
        Ok(self.task.await??)
    }
}

async fn listen(addr: Option<SocketAddr>) -> Result<TcpListener> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(TcpListener::bind(addr.unwrap_or(any)).await?)
}

/// A server without tcpchan: hyper's, for HTTP/1.1 and HTTP/2.
async fn serve_https(addr: Option<SocketAddr>, tls: ServerConfig) -> Result<(SocketAddr, Serving)> {
    let listener = listen(addr).await?;
    let addr = listener.local_addr()?;
    let tls = TlsAcceptor::from(Arc::new(tls));
    let serving = Serving::start(|mut stopped| async move {
        loop {
            let tcp = tokio::select! {
                _ = &mut stopped => return Ok(()),
                accepted = listener.accept() => accepted?.0,
            };
            let tls = tls.clone();
            tokio::spawn(async move {
                let io = TokioIo::new(tls.accept(tcp).await.ok()?);
                let builder = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(app());
                builder.serve_connection(io, service).await.ok()
            });
        }
    });
    Ok((addr, serving))
}

/// The same server with tcpchan.
async fn serve_both(addr: Option<SocketAddr>, tls: ServerConfig) -> Result<(SocketAddr, Serving)> {
    let listener = listen(addr).await?;
    let addr = listener.local_addr()?;
    let port = SharedPort::new(listener).with_tls(Tls::new(tls));
    let drain = port.drain_handle();
    let serving = Serving::start(|stopped| async move {
        let service = app().into_make_service_with_connect_info::<PeerInfo>();
        let serve = |stop| axum::serve(port, service).with_graceful_shutdown(stop);
        let signal = async { _ = stopped.await };
        drain
            .serve_until(signal, Duration::from_secs(10), serve)
            .await
    });
    Ok((addr, serving))
}

/// A server's configuration and that of a client which trusts it.
fn tls() -> Result<(ServerConfig, ClientConfig)> {
    // rustls takes any crypto provider; this program chooses ring.
    let _ = ring::default_provider().install_default();
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let http = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (server.alpn_protocols, client.alpn_protocols) = (http.clone(), http);
    Ok((server, client))
}
