//! A certificate authority of a test's own, and rustls configurations by it.
#![allow(dead_code)] // each test file uses a part

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub type Certified = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn certify(&self, name: &str) -> Certified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    }

    /// A certificate with these URIs.
    pub fn certify_uris(&self, uris: &[&str]) -> Certified {
        self.certify_names(Vec::new(), uris)
    }

    /// A certificate with these DNS names and these URIs.
    pub fn certify_names(&self, dns: Vec<String>, uris: &[&str]) -> Certified {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(dns).unwrap();
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    }

    /// Its own certificate, for those who trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, as files have them.
    pub fn certify_pem(&self, name: &str) -> (String, String) {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// The same, of the year 2020.
    pub fn certify_pem_of_2020(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    /// The same, with a URI in place of a DNS name.
    pub fn certify_pem_of_uri(&self, uri: &str) -> (String, String) {
        let mut params = CertificateParams::new([]).unwrap();
        let uri = SanType::URI(uri.try_into().unwrap());
        params.subject_alt_names.push(uri);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A server at 127.0.0.1 that asks for no client certificates.
    pub fn server(&self) -> ServerConfig {
        self.server_at("127.0.0.1")
    }

    /// A server with this name.
    pub fn server_at(&self, name: &str) -> ServerConfig {
        let (certificate, key) = self.certify(name);
        ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }

    /// A server at 127.0.0.1 that wants client certificates of this authority.
    pub fn server_for_known_clients(&self) -> ServerConfig {
        self.server_with(self.verifier())
    }

    /// A server at 127.0.0.1 that wants client certificates of another authority.
    pub fn server_for_clients_of(&self, other: &Authority) -> ServerConfig {
        self.server_with(other.verifier())
    }

    /// What lets clients of this authority come.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider);
        verifier.build().unwrap()
    }

    /// A server at 127.0.0.1 whose clients this lets come.
    pub fn server_with(&self, verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        let (certificate, key) = self.certify("127.0.0.1");
        ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A client that trusts this authority and shows a certificate.
    pub fn client_with(&self, (certificate, key): Certified) -> ClientConfig {
        ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![certificate], key)
            .unwrap()
    }
}
