//! A server that dials out: for an app behind NAT, which its peer calls over
//! the connection that the app made.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::acceptor::Acceptor;
use super::listen::Listener;
use crate::backoff::{Backoff, SHORT};
use crate::config::Config;
use crate::driver::Connection;

impl Acceptor {
    /// An acceptor of the channels that the peer opens on a connection that
    /// this side dials. It keeps one: where that has ended, or its peer drains,
    /// it dials again. Where dials fail, or connections end within a second
    /// and bring no channel, it waits ever longer in between, up to 5 s. A dial
    /// may take as long as [`Config::handshake_timeout`].
    ///
    /// `dial` yields the connection and its peer's address, such as a
    /// `TcpStream` or TLS over one. Its socket gets the options of
    /// [`Config::socket`].
    ///
    /// ```no_run
    /// # async fn run(app: axum::Router) -> std::io::Result<()> {
    /// let dial = || async {
    ///     let tcp = tokio::net::TcpStream::connect("hub.example:3000").await?;
    ///     let addr = tcp.peer_addr()?;
    ///     Ok((tcp, addr))
    /// };
    /// let acceptor = tcpchan::server::Acceptor::dialling(dial, tcpchan::Config::default());
    /// axum::serve(acceptor, app).await
    /// # }
    /// ```
    ///
    /// The other side accepts the connection ([`Connection::server`]) and opens
    /// channels on it ([`Connection::open`]); with the feature `client` its
    /// [`Connection`] is a connector for hyper-util's client.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub fn dialling<F, D, T>(dial: F, config: Config) -> Self
    where
        F: FnMut() -> D + Send + 'static,
        D: Future<Output = io::Result<(T, SocketAddr)>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Acceptor::with(config, None, |listener| run(listener, dial))
    }
}

/// Keeps a connection until the acceptor is gone or drains.
async fn run<F, D, T>(mut listener: Listener, mut dial: F)
where
    F: FnMut() -> D,
    D: Future<Output = io::Result<(T, SocketAddr)>>,
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (to, mut call) = (listener.to.clone(), listener.member.call.clone());
    let keep = async {
        let mut backoff = Backoff::default();
        loop {
            let good = serve_one(&mut listener, dial()).await;
            if good {
                backoff.clear();
            }
            let now = Instant::now().into_std();
            backoff.failed(now);
            tokio::time::sleep_until(backoff.start(now).into()).await;
        }
    };
    tokio::select! {
        () = keep => {}
        () = to.closed() => {}
        _ = call.asked() => {}
    }
}

/// Dials and serves; returns when another connection is needed, and whether
/// this one was worth its dial.
async fn serve_one<T>(
    listener: &mut Listener,
    dial: impl Future<Output = io::Result<(T, SocketAddr)>>,
) -> bool
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let within = listener.config.handshake_timeout;
    let Ok(Ok((io, addr))) = tokio::time::timeout(within, dial).await else {
        return false;
    };
    let config = listener.config.clone();
    let connection = listener.serve(addr.into(), None, || Connection::client(io, config));
    let since = Instant::now();
    connection.closed_to_channels().await;
    let stats = connection.stats();
    stats.rtt.is_some() && (stats.accepted > 0 || since.elapsed() >= SHORT)
}
