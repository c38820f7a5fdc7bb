//! Whether a service's certificate is for its name.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Whether a DNS name of the certificate is this one, in any case of letters.
pub fn is_certified(certificate: &CertificateDer<'_>, name: &str) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
        let mut names = certificate.valid_dns_names();
        names.any(|one| one.eq_ignore_ascii_case(name))
    })
}
