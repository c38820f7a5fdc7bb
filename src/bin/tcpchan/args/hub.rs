//! The options of a hub.

use std::path::PathBuf;

use clap::Args;

use super::link::Socket;
use super::listen::Listen;
use super::tls::TlsServer;
use super::values::published;

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    #[command(flatten)]
    pub listen: Listen,
    /// Take clients of the service NAME at this address; repeat it for several
    ///
    /// The address is as that of a relay's --listen.
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = published)]
    pub service: Vec<(String, String)>,
    /// The keys of the services: a line NAME KEY for each
    ///
    /// Without it, --tls-client-ca is needed, and a service's certificate must
    /// have its name as a DNS name.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsServer,
    #[command(flatten)]
    pub socket: Socket,
}
