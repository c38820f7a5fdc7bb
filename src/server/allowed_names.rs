//! Which clients may come, by the names in their certificates.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};
use webpki::EndEntityCert;

use super::shown;

/// A verifier of client certificates that also asks for one of these names, among the
/// alternative names of the certificate:
///
/// - `client.example`: this DNS name, as it is in the certificate, in any case of letters;
/// - `spiffe://example.org/ns/prod/sa/web`: this URI, such as a SPIFFE ID;
/// - `spiffe://example.org/ns/prod/*`: a URI that begins like this and goes on.
///
/// A certificate with a SPIFFE ID and another URI is refused, as SPIFFE asks for. So is a
/// URI with empty or dotted segments or escapes, where only its beginning is given. The
/// client is told `AccessDenied`. The event of a client that is refused has the names in its
/// certificate ([`observability`](crate::observability)).
///
/// It asks another verifier first, such as rustls's `WebPkiClientVerifier`. If that lets
/// clients without a certificate come, so does this.
///
/// ```no_run
/// # fn run(roots: tokio_rustls::rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
/// use tcpchan::server::AllowedNames;
/// use tokio_rustls::rustls::{ServerConfig, server::WebPkiClientVerifier};
///
/// let verifier = WebPkiClientVerifier::builder(roots.into()).build()?;
/// let verifier = AllowedNames::new(verifier, ["spiffe://example.org/ns/prod/*"]);
/// let config = ServerConfig::builder().with_client_cert_verifier(std::sync::Arc::new(verifier));
/// # Ok(())
/// # }
/// ```
///
/// A session that is resumed is not verified again; see
/// [`Config::max_connection_age`](crate::Config::max_connection_age) and
/// [`TlsHandle`](crate::TlsHandle).
#[derive(Debug)]
pub struct AllowedNames {
    verifier: Arc<dyn ClientCertVerifier>,
    /// None if each may come.
    names: Option<Vec<String>>,
}

impl AllowedNames {
    /// Of the certificates that `verifier` accepts, those that have one of the names. With
    /// no names, none.
    pub fn new<N>(verifier: Arc<dyn ClientCertVerifier>, names: impl IntoIterator<Item = N>) -> Self
    where
        N: Into<String>,
    {
        let names = Some(names.into_iter().map(Into::into).collect());
        AllowedNames { verifier, names }
    }

    /// All certificates that `verifier` accepts. The event of a client that is refused then
    /// has the names in its certificate, as with [`new`](Self::new).
    pub fn any(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let names = None;
        AllowedNames { verifier, names }
    }

    /// The names of [`new`](Self::new). `None` if each may come, as with [`any`](Self::any).
    #[must_use]
    pub fn get_names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    fn allows(&self, certificate: &EndEntityCert<'_>) -> bool {
        let Some(allowed) = &self.names else {
            return true;
        };
        let uris: Vec<&str> = certificate.valid_uri_names().collect();
        let is_spiffe = uris.iter().any(|uri| uri.starts_with("spiffe://"));
        if is_spiffe && uris.len() > 1 {
            return false;
        }
        let mut dns = certificate.valid_dns_names();
        if dns.any(|name| allowed.iter().any(|own| own.eq_ignore_ascii_case(name))) {
            return true;
        }
        uris.iter()
            .any(|uri| allowed.iter().any(|own| is_uri(own, uri)))
    }
}

/// Whether a URI is the one that is allowed, or begins like it.
fn is_uri(allowed: &str, uri: &str) -> bool {
    match allowed.strip_suffix('*') {
        Some(begin) if begin.ends_with('/') => {
            let rest = uri.strip_prefix(begin);
            rest.is_some_and(|rest| rest.split('/').all(is_plain))
        }
        _ => allowed == uri,
    }
}

fn is_plain(segment: &str) -> bool {
    let dotted = segment == "." || segment == "..";
    !segment.is_empty() && !dotted && !segment.contains(['%', '?', '#', '\\'])
}

impl ClientCertVerifier for AllowedNames {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        shown::note(&certificate);
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now)?;
        match self.allows(&certificate) {
            true => Ok(verified),
            false => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
