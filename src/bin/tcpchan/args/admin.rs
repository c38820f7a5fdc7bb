//! The options of the admin address.

use clap::Args;

use super::values::admin_address;

#[derive(Args, Clone, Debug)]
pub struct Admin {
    /// Serve metrics, health and a page of the connections over HTTP; a bare port is one of
    /// 127.0.0.1
    ///
    /// Whoever reaches the address sees the peers and their names. It has no TLS and asks for
    /// no password, so keep it off the internet.
    #[arg(long, value_name = "HOST:PORT", value_parser = admin_address)]
    pub admin: Option<String>,
    /// Answer requests for this name at the admin address too; repeat it for several
    ///
    /// Requests for `localhost` and for IP addresses are always answered. Others are not, so
    /// that no web page can read the answers by a DNS name of its own.
    #[arg(long, value_name = "NAME")]
    pub admin_host: Vec<String>,
}
