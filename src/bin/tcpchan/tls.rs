//! TLS by files: rustls's configurations, with errors that name the file.

use std::path::Path;
use std::sync::Arc;

use tcpchan::ALPN;
use tcpchan::client::TlsConnector;
use tcpchan::server::Tls;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::args::{TlsClient, TlsServer};
use crate::failure::Failure;

/// How a client speaks TLS.
pub struct Client {
    pub config: Arc<ClientConfig>,
    /// Instead of the host's name.
    name: Option<ServerName<'static>>,
}

impl Client {
    /// None if the arguments ask for no TLS.
    pub fn new(args: &TlsClient) -> Result<Option<Client>, Failure> {
        if !args.tls {
            return Ok(None);
        }
        let roots = match &args.tls_ca {
            Some(file) => roots_in(file)?,
            None => roots_of_the_system()?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::because("TLS", &error))?
            .with_root_certificates(roots);
        let mut config = match (&args.tls_cert, &args.tls_key) {
            (Some(cert), Some(key)) => config
                .with_client_auth_cert(certificates_in(cert)?, key_in(key)?)
                .map_err(|error| Failure::because(cert.display(), &error))?,
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = args.tls_name.clone().map(named).transpose()?;
        let config = Arc::new(config);
        Ok(Some(Client { config, name }))
    }

    pub fn connector(&self) -> TlsConnector {
        let connector = TlsConnector::new(self.config.clone());
        match &self.name {
            Some(name) => connector.with_server_name(name.clone()),
            None => connector,
        }
    }

    /// The name that the certificate of this host must be for.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>, Failure> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => named(host.trim_matches(['[', ']']).to_owned()),
        }
    }
}

fn named(name: String) -> Result<ServerName<'static>, Failure> {
    let failed = |error| Failure::because(format!("no name of a server: {name}"), &error);
    ServerName::try_from(name.clone()).map_err(failed)
}

/// How `serve` speaks TLS. None if the arguments ask for no TLS.
pub fn server(args: &TlsServer) -> Result<Option<Tls>, Failure> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::because("TLS", &error))?;
    let config = match &args.tls_client_ca {
        None => config.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(roots_in(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| Failure::because(file.display(), &error))?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let config = config
        .with_single_cert(certificates_in(cert)?, key_in(key)?)
        .map_err(|error| Failure::because(cert.display(), &error))?;
    Ok(Some(Tls::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = |error| Failure::because(file.display(), &error);
    let certificates = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(failed)?;
    match certificates.is_empty() {
        true => Err(Failure::new(format!(
            "{}: no certificate in it",
            file.display()
        ))),
        false => Ok(certificates),
    }
}

fn key_in(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| Failure::because(file.display(), &error))
}

fn roots_in(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_in(file)? {
        let added = roots.add(certificate);
        added.map_err(|error| Failure::because(file.display(), &error))?;
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.first()) {
        (false, _) => Ok(roots),
        (true, None) => Err(Failure::new(
            "the system has no certificates to trust: see --tls-ca",
        )),
        (true, Some(error)) => Err(Failure::because("the system's certificates", error)),
    }
}
