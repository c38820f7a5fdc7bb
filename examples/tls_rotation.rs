//! A server's certificate is exchanged while a connection lives, and clients come by the
//! names in their certificates.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, AllowedNames, Tls};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

type Failure = Box<dyn Error + Send + Sync>;
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, Failure> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn certify(
    authority: &Authority,
    name: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new([name.to_owned()])?;
    let certificate = params.signed_by(&key, authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    Ok((vec![certificate.der().clone()], key))
}

fn roots(authority: &Authority) -> Result<Arc<RootCertStore>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    Ok(Arc::new(roots))
}

/// A server whose clients must be named `web.example`.
fn server(authority: &Authority) -> Result<ServerConfig, Failure> {
    let verifier = WebPkiClientVerifier::builder(roots(authority)?).build()?;
    let verifier = AllowedNames::new(verifier, ["web.example"]);
    let (chain, key) = certify(authority, "127.0.0.1")?;
    let builder = ServerConfig::builder().with_client_cert_verifier(Arc::new(verifier));
    Ok(builder.with_single_cert(chain, key)?)
}

fn client(authority: &Authority, name: &str) -> Result<ClientConfig, Failure> {
    let (chain, key) = certify(authority, name)?;
    let builder = ClientConfig::builder().with_root_certificates(roots(authority)?);
    Ok(builder.with_client_auth_cert(chain, key)?)
}

async fn call(what: &str, multiplex: &Multiplex<TlsConnector>, uri: &str) -> Result<(), Failure> {
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(multiplex.clone());
    match client.get(uri.parse()?).await {
        Ok(response) => println!("{what}: {}", response.status()),
        Err(error) => println!("{what}: {error:?}"),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (old, new) = (authority()?, authority()?);
    let tls = Tls::new(server(&old)?);
    let handle = tls.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}/", listener.local_addr()?);
    let app = Router::new().route("/", get(|| async {}));
    let acceptor = Acceptor::new(listener).with_tls(tls);
    tokio::spawn(async { axum::serve(acceptor, app).await });

    let web = Multiplex::new(TlsConnector::new(client(&old, "web.example")?));
    call("a client of the old authority", &web, &uri).await?;
    let other = Multiplex::new(TlsConnector::new(client(&old, "other.example")?));
    call("a client of another name", &other, &uri).await?;

    handle.replace(server(&new)?);
    call("the first one, on its old connection", &web, &uri).await?;
    let web = Multiplex::new(TlsConnector::new(client(&new, "web.example")?));
    call("a client of the new authority", &web, &uri).await
}
