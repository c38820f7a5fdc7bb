//! What PEM files have.

use std::error::Error;
use std::path::Path;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

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

    pub fn certificates(self) -> Result<Vec<CertificateDer<'static>>, Problem> {
        let certificates =
            CertificateDer::pem_file_iter(self.path).map_err(|error| self.problem(&error))?;
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|error| self.problem(&error))?;
        match certificates.is_empty() {
            true => Err(Problem::new(self.option, "no certificate in it").of(self.path.display())),
            false => Ok(certificates),
        }
    }

    pub fn key(self) -> Result<PrivateKeyDer<'static>, Problem> {
        PrivateKeyDer::from_pem_file(self.path).map_err(|error| self.problem(&error))
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
