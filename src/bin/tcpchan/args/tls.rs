//! Options of TLS.

use std::path::PathBuf;

use clap::Args;

use super::values::client_name;

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TlsClient {
    /// Speak TLS
    #[arg(long)]
    pub tls: bool,
    /// Certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub tls_ca: Option<PathBuf>,
    /// The name that the server's certificate is for [default: the host]
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub tls_name: Option<String>,
    /// A certificate (PEM, with its chain) to show to the server
    #[arg(long, value_name = "FILE", requires = "tls", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TlsServer {
    /// Speak TLS, with this certificate (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Take only clients that show a certificate by one of these (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Take only clients whose certificate has one of these names; repeat it for several
    ///
    /// A name is a DNS name (client.example), or a URI such as a SPIFFE ID
    /// (spiffe://example.org/web), which may end with /* for all that go on like that.
    #[arg(long, value_name = "NAME", value_parser = client_name, requires = "tls_client_ca")]
    pub tls_client_name: Vec<String>,
}

impl TlsServer {
    pub fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }
}
