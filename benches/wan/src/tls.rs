//! The identity of a run's server, and TLS with it on both sides.

use std::env;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::link::SERVER;

/// The environment variable that hands it to the client and the server.
const VARIABLE: &str = "WAN_IDENTITY";

/// A certificate made for one run, and its key.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    pub fn generate() -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([SERVER.to_string()])?;
        Ok(Identity {
            certificate: cert.der().to_vec(),
            key: signing_key.serialize_der(),
        })
    }

    pub fn variable(&self) -> Result<(&'static str, String)> {
        Ok((VARIABLE, serde_json::to_string(self)?))
    }

    pub fn from_environment() -> Result<Self> {
        let text = env::var(VARIABLE).context(VARIABLE)?;
        Ok(serde_json::from_str(&text)?)
    }

    pub fn server(&self, protocol: &str) -> Result<ServerConfig> {
        let certificate = CertificateDer::from(self.certificate.clone());
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())?;
        config.alpn_protocols = vec![protocol.into()];
        Ok(config)
    }

    /// Without a protocol: hyper-rustls sets its own.
    pub fn client(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone()))?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(config)
    }
}
