//! A TCP connection and a channel, joined so that each end sees the other's
//! ends as they are: an end as an end, a reset as a reset.

mod buffer;
pub mod proxy;
mod socket;

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tcpchan::Channel;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use self::buffer::Chunk;
use self::socket::Socket;
use crate::counters::Counters;
use crate::net::Stream;

/// How long the last bytes for a TCP peer may take when it sends what nobody
/// takes any more. Closed with that unread, the socket would be reset, and the
/// last bytes lost.
const LAST: Duration = Duration::from_secs(5);

/// Sets up a client's or service's connection. From here on it is reset when
/// it is closed, whatever closes it, until [`carry`] has seen its end.
pub fn set_up(stream: &Stream) -> io::Result<()> {
    match stream {
        Stream::Tcp(tcp) => tcp.set_up(),
        #[cfg(unix)]
        Stream::Unix(unix) => unix.set_up(),
    }
}

/// Carries both directions to their ends. With an error, or when it is dropped
/// earlier, both sides are reset.
///
/// The peer that has got its end may be silent for `limit` before it ends its own
/// direction. Whether bytes reach the channel's peer, only the process there can see.
pub async fn carry(
    stream: Stream,
    channel: Channel,
    counters: &Counters,
    limit: Duration,
) -> io::Result<()> {
    match stream {
        Stream::Tcp(tcp) => carry_socket(tcp, channel, counters, limit).await,
        #[cfg(unix)]
        Stream::Unix(unix) => carry_socket(unix, channel, counters, limit).await,
    }
}

async fn carry_socket(
    mut socket: impl Socket,
    channel: Channel,
    counters: &Counters,
    limit: Duration,
) -> io::Result<()> {
    let ended = carry_both(&mut socket, channel, counters, limit).await?;
    if let Ended::Taken(false) = ended {
        let _ = tokio::time::timeout(LAST, discard(&mut socket)).await;
    }
    socket.close_in_order()?;
    match ended {
        Ended::Taken(_) => Ok(()),
        Ended::Silent => {
            let text = format!("half-closed, and no byte came for {limit:?}");
            Err(io::Error::new(ErrorKind::TimedOut, text))
        }
    }
}

/// How the TCP peer's direction ended. The peer has got its own end.
enum Ended {
    /// Whether the channel took all.
    Taken(bool),
    Silent,
}

async fn carry_both(
    socket: &mut impl Socket,
    channel: Channel,
    counters: &Counters,
    limit: Duration,
) -> io::Result<Ended> {
    let moved = AtomicU64::new(0);
    let (from_channel, to_channel) = channel.into_split();
    let (mut from_tcp, mut to_tcp) = socket.halves();
    let mut from_peer = pin!(pump(&mut from_tcp, to_channel, &counters.received, &moved));
    let mut to_peer = pin!(pump(from_channel, &mut to_tcp, &counters.sent, &moved));
    tokio::select! {
        taken = &mut from_peer => {
            let taken = taken?;
            to_peer.await?;
            Ok(Ended::Taken(taken))
        }
        ended = &mut to_peer => {
            ended?;
            match unless_silent(from_peer, limit, &moved).await {
                Some(taken) => Ok(Ended::Taken(taken?)),
                None => Ok(Ended::Silent),
            }
        }
    }
}

/// None if no byte moved for `limit`, or for up to a quarter longer.
async fn unless_silent<T>(
    carries: impl Future<Output = T>,
    limit: Duration,
    moved: &AtomicU64,
) -> Option<T> {
    let silence = async {
        let (mut seen, mut quiet) = (moved.load(Relaxed), 0);
        while quiet < 4 {
            tokio::time::sleep(limit / 4).await;
            let now = moved.load(Relaxed);
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
    };
    tokio::select! {
        biased;
        ended = carries => Some(ended),
        () = silence => None,
    }
}

/// Copies to the end of `from`, and ends `to` there. `false` if `to` takes no
/// more, which leaves the other direction as it is.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &AtomicU64,
    moved: &AtomicU64,
) -> io::Result<bool> {
    loop {
        let chunk = Chunk::read(&mut from).await?;
        if chunk.is_empty() {
            to.shutdown().await?;
            return Ok(true);
        }
        match write_all(&mut to, &chunk, moved).await {
            Ok(()) => carried.fetch_add(chunk.len() as u64, Relaxed),
            // Of a channel: its peer stopped it. Of a TCP connection: a reset
            // after its peer's end, for one before that is another error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error),
        };
    }
}

/// Tells of each part of the bytes when it is taken.
async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    moved: &AtomicU64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = to.write(bytes).await?;
        if taken == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        moved.fetch_add(taken as u64, Relaxed);
        bytes = &bytes[taken..];
    }
    Ok(())
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) {
    while Chunk::read(from).await.is_ok_and(|chunk| !chunk.is_empty()) {}
}
