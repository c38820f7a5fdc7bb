//! A peer whose bytes never end keeps nobody else from running.
//!
//! The other is a task that yields all the time: it runs again once all that
//! could run has, and the runtime has looked for sockets that are ready.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, MAX_DATA, Settings, Version};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that were read since the other task ran, and the most there were.
#[derive(Default)]
struct Row {
    bytes: AtomicUsize,
    most: AtomicUsize,
    total: AtomicUsize,
}

/// A transport that has always more: what the peer says first, and then one
/// thing over and over.
struct Endless {
    says: Vec<u8>,
    again: Vec<u8>,
    row: Arc<Row>,
}

/// What is far too much in a row: the test fails rather than spins.
const TOO_MUCH: usize = 64 << 20;

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = buf.remaining();
        while self.says.len() < n {
            let again = self.again.clone();
            self.says.extend(again);
        }
        buf.put_slice(&self.says[..n]);
        self.says.drain(..n);
        let bytes = n + self.row.bytes.fetch_add(n, Relaxed);
        assert!(bytes < TOO_MUCH, "nobody else runs");
        self.row.most.fetch_max(bytes, Relaxed);
        self.row.total.fetch_add(n, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The most that is read in a row of a client that opens a channel and then says
/// this again and again, until so much was read in all.
async fn most_in_a_row(config: Config, again: &[Frame<'_>], total: usize) -> usize {
    let mut says = Vec::new();
    let hello = Control::Hello {
        magic: DEFAULT_MAGIC,
    };
    let body = Settings::default().encode();
    for control in [
        hello,
        Control::Settings { body },
        Control::Open { channel: 1 },
    ] {
        Frame::Control(control).encode(Version::V1, &mut says);
    }
    let mut bytes = Vec::new();
    for frame in again {
        frame.encode(Version::V1, &mut bytes);
    }
    let row = Arc::new(Row::default());
    let io = Endless {
        says,
        again: bytes,
        row: row.clone(),
    };
    let connection = Connection::server(io, config);
    while row.total.load(Relaxed) < total {
        row.bytes.store(0, Relaxed);
        assert!(row.most.load(Relaxed) < TOO_MUCH);
        tokio::task::yield_now().await;
    }
    drop(connection);
    row.most.load(Relaxed)
}

const MIB: usize = 1 << 20;

/// Each costs nearly as much as one of 16 KiB.
#[tokio::test]
async fn frames_of_one_byte_are_read_a_thousand_at_a_time() {
    let config = Config::default().initial_window(16 << 20).unwrap();
    let frame = Frame::Data {
        channel: 1,
        body: b"x",
    };
    let most = most_in_a_row(config, &[frame], 4 * MIB).await;
    assert!(most <= 20 << 10, "{most} bytes");
}

/// Each ends a task of the application's, or may.
#[tokio::test]
async fn channels_that_are_given_up_are_read_few_at_a_time() {
    let pair = |channel| {
        let reset = Control::Reset { channel, code: 0 };
        [Control::Open { channel }, reset].map(Frame::Control)
    };
    let pairs: Vec<_> = (1..1000).flat_map(|n| pair(1 + 2 * n)).collect();
    let most = most_in_a_row(Config::default(), &pairs, 6 << 10).await;
    assert!(most <= 5 << 10, "{most} bytes");
}

#[tokio::test]
async fn large_frames_are_read_some_at_a_time() {
    let config = Config::default().initial_window(16 << 20).unwrap();
    let frame = Frame::Data {
        channel: 1,
        body: &[7; MAX_DATA],
    };
    let most = most_in_a_row(config, &[frame], 8 * MIB).await;
    assert!(most <= 320 << 10, "{most} bytes");
}

/// Behind a violation there is nothing to look at, but bytes to take.
#[tokio::test]
async fn what_comes_behind_a_violation_is_read_some_at_a_time() {
    let config = Config::default();
    let frame = Frame::Control(Control::Fin { channel: 1 });
    let most = most_in_a_row(config, &[frame], 8 * MIB).await;
    assert!(most <= 128 << 10, "{most} bytes");
}
