//! What all of the command's TLS has in common.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The protocol's name in ALPN of a service that comes to a hub.
pub const HUB_ALPN: &[u8] = b"tcpchan-hub/1";
