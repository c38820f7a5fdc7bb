//! tcpchan and plain HTTPS on one port, told apart by ALPN, and clients with
//! certificates. All in one process, with certificates made on the spot.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{PeerInfo, SharedPort, Tls};
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

type Authority = CertifiedIssuer<'static, KeyPair>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

async fn who(ConnectInfo(peer): ConnectInfo<PeerInfo>) -> String {
    let certificates = peer
        .identity
        .as_ref()
        .map(|identity| identity.certificates());
    format!(
        "connection {}, channel {}, {} certificate(s)",
        peer.connection,
        peer.channel,
        certificates.map_or(0, <[_]>::len),
    )
}

#[tokio::main]
async fn main() -> Result<()> {
    // rustls takes any crypto provider; this program chooses ring.
    let _ = ring::default_provider().install_default();
    let authority = authority()?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}/", listener.local_addr()?);
    let tls = Tls::new(server_config(&authority)?);
    let port = SharedPort::new(listener).with_tls(tls);
    let app = Router::new().route("/", get(who));
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(port, service).await });

    let config = client_config(&authority)?;
    let tcpchan = Multiplex::new(TlsConnector::new(config.clone()));
    println!("tcpchan: {}", call(tcpchan.clone(), &uri).await?);
    println!("tcpchan: {}", call(tcpchan, &uri).await?);

    // Another TLS connector goes inside too; then the ALPN is yours to set.
    let mut asking = config.clone();
    asking.alpn_protocols = vec![tcpchan::ALPN.to_vec()];
    let inside = Multiplex::new(HttpsConnector::from((http(), asking)));
    println!("tcpchan: {}", call(inside, &uri).await?);

    let https = HttpsConnector::from((http(), config));
    println!("https:   {}", call(https, &uri).await?);
    Ok(())
}

fn http() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false); // hyper-rustls gives it the scheme https
    http.set_nodelay(true);
    http
}

async fn call<C>(connector: C, uri: &str) -> Result<String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let body = client
        .get(uri.parse()?)
        .await?
        .into_body()
        .collect()
        .await?;
    Ok(String::from_utf8(body.to_bytes().into())?)
}

fn authority() -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn roots(authority: &Authority) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    Ok(roots.into())
}

type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certify(authority: &Authority, name: &str) -> Result<Certified> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    Ok((vec![certificate.der().clone()], key))
}

fn server_config(authority: &Authority) -> Result<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder(roots(authority)?).build()?;
    let (chain, key) = certify(authority, "127.0.0.1")?;
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    Ok(config.with_single_cert(chain, key)?)
}

fn client_config(authority: &Authority) -> Result<ClientConfig> {
    let (chain, key) = certify(authority, "a client")?;
    let config = ClientConfig::builder().with_root_certificates(roots(authority)?);
    Ok(config.with_client_auth_cert(chain, key)?)
}
