//! A listener of either kind.

use std::fmt;
use std::io;

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::stream::{Client, Stream};

#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    /// The next connection that its client has not given up already. Cancel safe.
    pub async fn accept(&self) -> io::Result<(Stream, Client)> {
        loop {
            match self.accept_next().await {
                Err(error) if is_of_one_connection(&error) => {}
                accepted => return accepted,
            }
        }
    }

    async fn accept_next(&self) -> io::Result<(Stream, Client)> {
        match self {
            Listener::Tcp(listener) => {
                let (tcp, addr) = listener.accept().await?;
                Ok((Stream::Tcp(tcp), Client::Tcp(addr)))
            }
            #[cfg(unix)]
            Listener::Unix(listener) => {
                let (unix, _) = listener.accept().await?;
                let process = unix.peer_cred().ok().and_then(|peer| peer.pid());
                Ok((Stream::Unix(unix), Client::Local(process)))
            }
        }
    }
}

/// Whether it says nothing of the listener.
pub fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused | ConnectionAborted | ConnectionReset => true,
        InvalidInput => error.raw_os_error().is_none(), // macOS tells no address of one that was reset
        _ => false,
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(addr) => addr.fmt(f),
                Err(_) => f.write_str("?"),
            },
            #[cfg(unix)]
            Listener::Unix(listener) => {
                let addr = listener.local_addr().ok().map(Into::into);
                unix_name(f, addr)
            }
        }
    }
}

#[cfg(unix)]
fn unix_name(
    f: &mut fmt::Formatter<'_>,
    addr: Option<std::os::unix::net::SocketAddr>,
) -> fmt::Result {
    if let Some(path) = addr.as_ref().and_then(|addr| addr.as_pathname()) {
        return write!(f, "unix:{}", path.display());
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        if let Some(name) = addr.as_ref().and_then(|addr| addr.as_abstract_name()) {
            return write!(f, "unix:@{}", String::from_utf8_lossy(name));
        }
    }
    f.write_str("unix:?")
}
