//! A TCP connection and a channel, joined so that each end sees the other's
//! ends as they are: an end as an end, a reset as a reset.

mod buffer;
pub mod proxy;
mod socket;

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use tcpchan::Channel;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use self::buffer::Chunk;
use self::socket::Socket;
use crate::counters::Traffic;
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
    traffic: &Traffic<'_>,
    limit: Duration,
) -> Result<(), Broken> {
    match stream {
        Stream::Tcp(tcp) => carry_socket(tcp, channel, traffic, limit).await,
        #[cfg(unix)]
        Stream::Unix(unix) => carry_socket(unix, channel, traffic, limit).await,
    }
}

async fn carry_socket(
    mut socket: impl Socket,
    channel: Channel,
    traffic: &Traffic<'_>,
    limit: Duration,
) -> Result<(), Broken> {
    let ended = carry_both(&mut socket, channel, traffic, limit).await?;
    if let Ended::Taken(false) = ended {
        let _ = tokio::time::timeout(LAST, discard(&mut socket)).await;
    }
    socket.close_in_order().map_err(Broken::Socket)?;
    match ended {
        Ended::Taken(_) => Ok(()),
        Ended::Silent => Err(Broken::Silent(limit)),
    }
}

/// Why a stream was not carried to its end.
#[derive(Debug)]
pub enum Broken {
    /// By the client's or service's connection.
    Socket(io::Error),
    /// By the channel.
    Channel(io::Error),
    /// The peer was silent for so long after its own end had come.
    Silent(Duration),
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
    traffic: &Traffic<'_>,
    limit: Duration,
) -> Result<Ended, Broken> {
    let (from_channel, to_channel) = channel.into_split();
    let (mut from_tcp, mut to_tcp) = socket.halves();
    let from_peer = pump(
        (&mut from_tcp, Broken::Socket),
        (to_channel, Broken::Channel),
        |count| traffic.receive(count),
    );
    let to_peer = pump(
        (from_channel, Broken::Channel),
        (&mut to_tcp, Broken::Socket),
        |count| traffic.send(count),
    );
    let (mut from_peer, mut to_peer) = (pin!(from_peer), pin!(to_peer));
    tokio::select! {
        taken = &mut from_peer => {
            let taken = taken?;
            to_peer.await?;
            Ok(Ended::Taken(taken))
        }
        ended = &mut to_peer => {
            ended?;
            match unless_silent(from_peer, limit, traffic).await {
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
    traffic: &Traffic<'_>,
) -> Option<T> {
    let silence = async {
        let (mut seen, mut quiet) = (traffic.bytes(), 0);
        while quiet < 4 {
            tokio::time::sleep(limit / 4).await;
            let now = traffic.bytes();
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
/// more, which leaves the other direction as it is. `took` is told of each part of the bytes
/// when it is taken.
async fn pump(
    (mut from, read_failed): (impl AsyncRead + Unpin, fn(io::Error) -> Broken),
    (mut to, write_failed): (impl AsyncWrite + Unpin, fn(io::Error) -> Broken),
    took: impl Fn(usize),
) -> Result<bool, Broken> {
    loop {
        let chunk = Chunk::read(&mut from).await.map_err(read_failed)?;
        if chunk.is_empty() {
            to.shutdown().await.map_err(write_failed)?;
            return Ok(true);
        }
        match write_all(&mut to, &chunk, &took).await {
            Ok(()) => {}
            // Of a channel: its peer stopped it. Of a TCP connection: a reset
            // after its peer's end, for one before that is another error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(write_failed(error)),
        };
    }
}

async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    took: impl Fn(usize),
) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = to.write(bytes).await?;
        if taken == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        took(taken);
        bytes = &bytes[taken..];
    }
    Ok(())
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) {
    while Chunk::read(from).await.is_ok_and(|chunk| !chunk.is_empty()) {}
}
