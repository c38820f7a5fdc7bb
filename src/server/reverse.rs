//! A server that dials out. It is for an app behind NAT: its peer calls it over the
//! connection that the app made.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accept_loop::AcceptLoop;
use super::acceptor::Acceptor;
use super::peer::Peer;
use crate::backoff::{Backoff, SHORT};
use crate::driver::Connection;
use crate::observability::{Dial, Target};
use crate::proto::Role;

impl Acceptor {
    /// An acceptor of the channels that the peer opens on a connection which this side dials. It
    /// keeps one connection. It dials again if that has ended, the peer drains it, or the peer is
    /// suspect ([`Config::answer_within`](crate::Config::answer_within)).
    ///
    /// If dials fail or panic, or connections end within a second and bring no channel, the wait
    /// before the next dial doubles, up to 5 s. A dial, and the peer's hello after it, may each
    /// take as long as [`Config::handshake_timeout`](crate::Config::handshake_timeout). Each
    /// failure is an event with its cause ([`observability`](crate::observability)).
    ///
    /// A ping finds out that the peer is silent: within 4 s if this side is answering, and
    /// otherwise [`Config::ping_after`](crate::Config::ping_after) and two seconds later. Make
    /// that short if calls are rare and must not wait.
    ///
    /// `dial` yields the connection and its peer's address, such as a `TcpStream` or TLS over
    /// one; `with_tls` is not for it. Its socket gets the options of
    /// [`Config::socket`](crate::Config::socket). The certificates that the peer has shown are in
    /// [`PeerInfo::identity`](super::PeerInfo), if it is rustls's `TlsStream` over a `TcpStream`.
    ///
    /// ```no_run
    /// # async fn run(app: axum::Router) -> std::io::Result<()> {
    /// let dial = || async {
    ///     let tcp = tokio::net::TcpStream::connect("hub.example:3000").await?;
    ///     let addr = tcp.peer_addr()?;
    ///     Ok((tcp, addr))
    /// };
    /// let acceptor = tcpchan::server::Acceptor::dialling(dial);
    /// axum::serve(acceptor, app).await
    /// # }
    /// ```
    ///
    /// The other side accepts the connection ([`Connection::server`]) and opens
    /// channels on it ([`Connection::open`]); with the feature `client` its
    /// [`Connection`] is a connector for hyper-util's client.
    pub fn dialling<F, D, T>(dial: F) -> Self
    where
        F: FnMut() -> D + Send + 'static,
        D: Future<Output = io::Result<(T, SocketAddr)>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Acceptor::unstarted(None, |listener| Box::pin(run(listener, dial))).that_dials()
    }
}

/// Keeps a connection until the acceptor is gone or drains.
async fn run<F, D, T>(mut listener: AcceptLoop, dial: F)
where
    F: FnMut() -> D + Send + 'static,
    D: Future<Output = io::Result<(T, SocketAddr)>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (to, mut signal) = (listener.to.clone(), listener.member.signal.clone());
    let keep = async {
        let (mut backoff, dial) = (Backoff::default(), Arc::new(Mutex::new(dial)));
        let target = Target::unnamed();
        loop {
            let good = serve_one(&mut listener, &target, dial.clone()).await;
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
        _ = signal.requested() => {}
    }
}

/// Dials and serves; returns when another connection is needed, and whether
/// this one was worth its dial.
async fn serve_one<F, D, T>(listener: &mut AcceptLoop, target: &Target, dial: Arc<Mutex<F>>) -> bool
where
    F: FnMut() -> D + Send + 'static,
    D: Future<Output = io::Result<(T, SocketAddr)>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let attempt = Dial::begin(target.clone());
    let within = listener.settings.config.core().get_handshake_timeout();
    // A panic there is that dial's end and no other's.
    let mut task = JoinSet::new();
    task.spawn(async move {
        // A `dial` that blocks its thread blocks no other one: the next attempt waits here.
        let dialled = (dial.lock().await)();
        dialled.await
    });
    let (io, addr) = match tokio::time::timeout(within, task.join_next()).await {
        Ok(Some(Ok(Ok(dialled)))) => dialled,
        Ok(Some(Ok(Err(error)))) => {
            attempt.fails(&error);
            return false;
        }
        Ok(Some(Err(panic))) => {
            attempt.fails(&panic);
            return false;
        }
        Ok(None) | Err(_) => {
            attempt.times_out();
            return false;
        }
    };
    let (peer, config) = (Peer::of(&io, addr), listener.settings.config.clone());
    let connection = listener.serve(peer, None, |mut origin| {
        origin.dial = Some(attempt);
        Connection::spawn(Role::Client, io, config, origin)
    });
    let since = Instant::now();
    connection.greeted().await;
    if connection.error().is_some() {
        return false;
    }
    connection.closed_to_channels().await;
    connection.drain(); // its peer may only be late
    let stats = connection.stats();
    stats.rtt.is_some() && (stats.accepted > 0 || since.elapsed() >= SHORT)
}
