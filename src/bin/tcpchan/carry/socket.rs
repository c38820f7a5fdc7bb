//! What a connection can do, TCP's or a unix socket's.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// How long a client or a service may be idle before the kernel asks whether
/// its host is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// Its two directions.
    fn halves(
        &mut self,
    ) -> (
        impl AsyncRead + Send + Unpin,
        impl AsyncWrite + Send + Unpin,
    );

    /// From here on it is reset when it is closed, whatever closes it.
    fn set_up(&self) -> io::Result<()>;

    /// From here on it is closed in order. A reset would destroy what the peer
    /// has not fetched yet.
    fn close_in_order(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn halves(
        &mut self,
    ) -> (
        impl AsyncRead + Send + Unpin,
        impl AsyncWrite + Send + Unpin,
    ) {
        self.split()
    }

    fn set_up(&self) -> io::Result<()> {
        self.set_nodelay(true)?;
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
        SockRef::from(self).set_tcp_keepalive(&keep_alive)?;
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }

    fn close_in_order(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(None)
    }
}

/// A unix socket has no reset: its peer reads an end, whatever closes it.
#[cfg(unix)]
impl Socket for UnixStream {
    fn halves(
        &mut self,
    ) -> (
        impl AsyncRead + Send + Unpin,
        impl AsyncWrite + Send + Unpin,
    ) {
        self.split()
    }

    fn set_up(&self) -> io::Result<()> {
        Ok(())
    }

    fn close_in_order(&self) -> io::Result<()> {
        Ok(())
    }
}
