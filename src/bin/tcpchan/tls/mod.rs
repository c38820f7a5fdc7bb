//! TLS by files: rustls's configurations, with errors that name the option and the file.

mod client;
mod files;
mod provider;
mod server;

pub use self::client::Client;
pub use self::provider::HUB_ALPN;
pub use self::server::server;
