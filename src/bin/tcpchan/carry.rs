//! A TCP connection and a channel, joined so that each end sees the other's
//! ends as they are: an end as an end, a reset as a reset.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tcpchan::Channel;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::buffer::Chunk;
use crate::stats::Counters;

/// How long the last bytes for a TCP peer may take when it sends what nobody
/// takes any more. Closed with that unread, the socket would be reset, and the
/// last bytes lost.
const LAST: Duration = Duration::from_secs(5);

/// How long a client or a service may be idle before the kernel asks whether
/// its host is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Sets up a client's or service's connection. From here on it is reset when
/// it is closed, whatever closes it, until [`carry`] has seen its end.
pub fn set_up(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
    SockRef::from(tcp).set_tcp_keepalive(&keep_alive)?;
    SockRef::from(tcp).set_linger(Some(Duration::ZERO))
}

/// Carries both directions to their ends. With an error, or when it is dropped
/// earlier, both sides are reset.
pub async fn carry(mut tcp: TcpStream, channel: Channel, counters: &Counters) -> io::Result<()> {
    let (from_channel, to_channel) = channel.into_split();
    let (mut from_tcp, mut to_tcp) = tcp.split();
    let (taken, _) = tokio::try_join!(
        pump(&mut from_tcp, to_channel, &counters.received),
        pump(from_channel, &mut to_tcp, &counters.sent),
    )?;
    if !taken {
        let _ = tokio::time::timeout(LAST, discard(&mut from_tcp)).await;
    }
    SockRef::from(&tcp).set_linger(None)
}

/// Copies to the end of `from`, and ends `to` there. `false` if `to` takes no
/// more, which leaves the other direction as it is.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &AtomicU64,
) -> io::Result<bool> {
    loop {
        let chunk = Chunk::read(&mut from).await?;
        if chunk.is_empty() {
            to.shutdown().await?;
            return Ok(true);
        }
        match to.write_all(&chunk).await {
            Ok(()) => carried.fetch_add(chunk.len() as u64, Relaxed),
            // Of a channel: its peer stopped it. Of a TCP connection: a reset
            // after its peer's end, for one before that is another error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error),
        };
    }
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) {
    while Chunk::read(from).await.is_ok_and(|chunk| !chunk.is_empty()) {}
}
