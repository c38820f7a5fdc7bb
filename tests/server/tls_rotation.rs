//! Certificates, keys and authorities are exchanged while connections live.
#![cfg(all(feature = "axum", feature = "client", feature = "tls"))]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, PeerInfo, SharedPort, Tls};
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use crate::certs::Authority;
use crate::guard::within;

type HttpClient = Client<Multiplex<TlsConnector>, Empty<Bytes>>;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn app() -> Router {
    let tell = |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
        let identity = peer.identity.as_ref();
        let certificate = identity.map(|identity| &identity.certificates()[0]);
        told(peer.connection, certificate)
    };
    Router::new().route("/", get(tell))
}

/// What the app tells of a caller.
fn told(connection: u64, certificate: Option<&CertificateDer<'_>>) -> String {
    format!("{connection} {:?}", certificate.map(|der| der.as_ref()))
}

async fn serve(tls: Tls) -> SocketAddr {
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener).with_tls(tls);
    let service = app().into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });
    addr
}

fn client(config: ClientConfig) -> HttpClient {
    over(TlsConnector::new(config))
}

fn over(connector: TlsConnector) -> HttpClient {
    Client::builder(TokioExecutor::new()).build(Multiplex::new(connector))
}

async fn ask(client: &HttpClient, addr: SocketAddr) -> Result<String, Error> {
    let uri = format!("https://{addr}/").parse().unwrap();
    let response = within(client.get(uri)).await?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Tls::new(old.server());
    let handle = tls.handle();
    let addr = serve(tls).await;
    let (before, after) = (client(old.client()), client(new.client()));
    assert_eq!(ask(&before, addr).await.unwrap(), told(1, None));
    ask(&after, addr).await.unwrap_err();
    handle.replace(new.server());
    assert_eq!(ask(&before, addr).await.unwrap(), told(1, None));
    assert_eq!(ask(&after, addr).await.unwrap(), told(2, None));
    ask(&client(old.client()), addr).await.unwrap_err();
}

#[tokio::test]
async fn of_an_authority_that_is_exchanged_no_more_clients_come() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Tls::new(old.server_for_known_clients());
    let handle = tls.handle();
    let addr = serve(tls).await;
    let certified = old.certify("client");
    let certificate = certified.0.clone();
    // Its sessions are kept there, and could be resumed.
    let config = Arc::new(old.client_with(certified));
    let before = over(TlsConnector::new(config.clone()));
    assert_eq!(
        ask(&before, addr).await.unwrap(),
        told(1, Some(&certificate))
    );

    handle.replace(old.server_for_clients_of(&new));
    assert_eq!(
        ask(&before, addr).await.unwrap(),
        told(1, Some(&certificate))
    );
    let again = over(TlsConnector::new(config));
    let error = format!("{:?}", ask(&again, addr).await.unwrap_err());
    assert!(error.contains("AlertReceived"), "{error}");
    let certified = new.certify("client");
    let certificate = certified.0.clone();
    let after = client(old.client_with(certified));
    assert_eq!(
        ask(&after, addr).await.unwrap(),
        told(2, Some(&certificate))
    );
}

#[tokio::test]
async fn a_shared_port_keeps_its_protocols_with_a_new_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Tls::new(old.server());
    let handle = tls.handle();
    let (listener, addr) = listen().await;
    let port = SharedPort::new(listener).with_tls(tls);
    let service = app().into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(port, service).await });
    handle.replace(new.server());
    let channels = client(new.client());
    assert_eq!(ask(&channels, addr).await.unwrap(), told(1, None));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(new.client())
        .https_only()
        .enable_http1();
    let https: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(https.build());
    let uri = format!("https://{addr}/").parse().unwrap();
    assert!(within(https.get(uri)).await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_client_shows_its_new_certificate_on_new_connections() {
    let authority = Authority::new();
    let addr = serve(Tls::new(authority.server_for_known_clients())).await;
    let (old, new) = (authority.certify("old"), authority.certify("new"));
    let certificates = [old.0.clone(), new.0.clone()];
    let connector = TlsConnector::new(authority.client_with(old));
    let handle = connector.handle();
    let first = over(connector.clone());
    let told_old = told(1, Some(&certificates[0]));
    assert_eq!(ask(&first, addr).await.unwrap(), told_old);
    handle.replace(authority.client_with(new));
    assert_eq!(ask(&first, addr).await.unwrap(), told_old);
    let second = over(connector);
    let told_new = told(2, Some(&certificates[1]));
    assert_eq!(ask(&second, addr).await.unwrap(), told_new);
}

/// A folder for a test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("tcpchan-rotation-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(chain: &Path, key: &Path) -> Option<ServerConfig> {
    let chain = CertificateDer::from_pem_file(chain).ok()?;
    let key = PrivateKeyDer::from_pem_file(key).ok()?;
    ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .ok()
}

#[tokio::test]
async fn files_are_watched_and_a_pair_that_does_not_fit_changes_nothing() {
    let folder = Folder::new();
    let (chain, key) = (folder.0.join("chain.pem"), folder.0.join("key.pem"));
    let (old, new) = (Authority::new(), Authority::new());
    let pair = old.certify_pem("127.0.0.1");
    std::fs::write(&chain, pair.0).unwrap();
    std::fs::write(&key, pair.1).unwrap();

    let tls = Tls::new(load(&chain, &key).unwrap());
    let loads = Arc::new(AtomicUsize::new(0));
    let count = loads.clone();
    let files = [chain.clone(), key.clone()];
    let from = files.clone();
    let load = move || {
        let loaded = load(&from[0], &from[1]);
        count.fetch_add(1, SeqCst);
        loaded
    };
    tls.handle().watch(files, Duration::from_millis(1), load);
    let addr = serve(tls).await;
    let loaded = async |times| {
        while loads.load(SeqCst) < times {
            tokio::task::yield_now().await;
        }
    };
    within(loaded(1)).await; // those that are there

    let pair = new.certify_pem("127.0.0.1");
    std::fs::write(&chain, pair.0).unwrap();
    within(loaded(2)).await;
    ask(&client(old.client()), addr).await.unwrap();
    std::fs::write(&key, pair.1).unwrap();
    within(async { while ask(&client(new.client()), addr).await.is_err() {} }).await;
    ask(&client(old.client()), addr).await.unwrap_err();
}
