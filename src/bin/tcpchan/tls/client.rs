//! How a client speaks TLS.

use std::sync::Arc;

use tcpchan::ALPN;
use tcpchan::client::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::files::PemFile;
use super::provider::provider;
use crate::args::TlsClient;
use crate::failure::Problem;
use crate::net::Outgoing;

pub struct Client {
    pub config: Arc<ClientConfig>,
    /// Instead of the host's name.
    name: Option<ServerName<'static>>,
}

impl Client {
    /// None if the options ask for no TLS.
    pub fn new(args: &TlsClient) -> Result<Option<Client>, Problem> {
        if !args.tls {
            return Ok(None);
        }
        let file = |option, path| PemFile { option, path };
        let roots = match &args.tls_ca {
            Some(path) => file("tls-ca", path).roots()?,
            None => roots_of_the_system()?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem::because("tls", &error))?
            .with_root_certificates(roots);
        let mut config = match (&args.tls_cert, &args.tls_key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (file("tls-cert", cert), file("tls-key", key));
                config
                    .with_client_auth_cert(cert.certificates()?, key.key()?)
                    .map_err(|error| cert.unfit(key, &error))?
            }
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = args.tls_name.clone().map(|name| named("tls-name", name));
        Ok(Some(Client {
            config: Arc::new(config),
            name: name.transpose()?,
        }))
    }

    pub fn connector(&self, outgoing: Outgoing) -> TlsConnector<Outgoing> {
        let connector = TlsConnector::over(outgoing, self.config.clone());
        match &self.name {
            Some(name) => connector.with_server_name(name.clone()),
            None => connector,
        }
    }

    /// The name that the certificate of this host must be for.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>, Problem> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => named("to", host.trim_matches(['[', ']']).to_owned()),
        }
    }
}

fn named(option: &'static str, name: String) -> Result<ServerName<'static>, Problem> {
    let failed =
        |error| Problem::because(option, &error).of(format!("no name of a server: {name}"));
    ServerName::try_from(name.clone()).map_err(failed)
}

fn roots_of_the_system() -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let problem = match (roots.is_empty(), found.errors.first()) {
        (false, _) => return Ok(roots),
        (true, None) => Problem::new(
            "tls",
            "the system has no certificates to trust: see --tls-ca",
        ),
        (true, Some(error)) => Problem::because("tls", error).of("the system's certificates"),
    };
    Err(problem)
}
