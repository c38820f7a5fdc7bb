//! The cryptography that the command uses.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
