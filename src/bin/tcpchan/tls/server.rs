//! How a server speaks TLS.

use std::sync::Arc;

use tcpchan::server::AllowedNames;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use super::files::PemFile;
use super::provider::provider;
use crate::args::TlsServer;
use crate::failure::Problem;

/// None if the options ask for no TLS.
pub fn server(args: &TlsServer) -> Result<Option<ServerConfig>, Problem> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let file = |option, path| PemFile { option, path };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::because("tls-cert", &error))?;
    let config = match &args.tls_client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let file = file("tls-client-ca", path);
            let roots = Arc::new(file.roots()?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| file.problem(&error))?;
            let names = match args.tls_client_name.is_empty() {
                true => AllowedNames::any(verifier),
                false => AllowedNames::new(verifier, &args.tls_client_name),
            };
            config.with_client_cert_verifier(Arc::new(names))
        }
    };
    let (cert, key) = (file("tls-cert", cert), file("tls-key", key));
    let config = config
        .with_single_cert(cert.certificates()?, key.key()?)
        .map_err(|error| cert.unfit(key, &error))?;
    Ok(Some(config))
}
