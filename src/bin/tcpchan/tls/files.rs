//! What PEM files have.

use std::error::Error;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::failure::Problem;

/// A file, and the option that names it.
#[derive(Clone, Copy)]
pub struct PemFile<'a> {
    pub option: &'static str,
    pub path: &'a Path,
}

impl PemFile<'_> {
    pub fn problem(self, error: &dyn Error) -> Problem {
        Problem::because(self.option, error).of(self.path.display())
    }

    fn lacks(self, text: &str) -> Problem {
        Problem::new(self.option, text).of(self.path.display())
    }

    /// This certificate and its key do not fit, or are no good.
    pub fn unfit(self, key: PemFile<'_>, error: &rustls::Error) -> Problem {
        let cert = self.path.display();
        match error {
            rustls::Error::InconsistentKeys(_) => {
                key.lacks(&format!("it is not the key of the certificate in {cert}"))
            }
            error => self.problem(error),
        }
    }

    pub fn certificates(self) -> Result<Vec<CertificateDer<'static>>, Problem> {
        let certificates =
            CertificateDer::pem_file_iter(self.path).map_err(|error| self.problem(&error))?;
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|error| self.problem(&error))?;
        match certificates.is_empty() {
            true => {
                Err(self.lacks("no certificate in it: it needs a block BEGIN CERTIFICATE (PEM)"))
            }
            false => Ok(certificates),
        }
    }

    pub fn key(self) -> Result<PrivateKeyDer<'static>, Problem> {
        PrivateKeyDer::from_pem_file(self.path).map_err(|error| match error {
            pem::Error::NoItemsFound => self.lacks(
                "no private key in it: it needs a block BEGIN PRIVATE KEY (PEM), not encrypted",
            ),
            error => self.problem(&error),
        })
    }

    pub fn roots(self) -> Result<RootCertStore, Problem> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|error| self.problem(&error))?;
        }
        Ok(roots)
    }
}
