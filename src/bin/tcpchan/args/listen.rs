//! Where a service listens.

use clap::Args;

use super::values::{listen, mode};

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where to take connections: HOST:PORT, unix:/PATH, unix:@NAME or
    /// systemd:NAME; repeat it for several
    ///
    /// Port 0 takes a free one. unix:@NAME is an abstract name of Linux.
    /// systemd:NAME is the sockets with this FileDescriptorName= that systemd
    /// passes to this process.
    #[arg(long, value_name = "ADDRESS", value_parser = listen, required = true)]
    pub listen: Vec<String>,
    /// The permissions of the files of unix sockets, such as 660 [default: by
    /// the umask]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub unix_mode: Option<u32>,
}
