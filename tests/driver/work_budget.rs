//! A peer whose bytes never end keeps nobody else from running.
//!
//! The other is a task that yields all the time: it runs again once all that
//! could run has, and the runtime has looked for sockets that are ready.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, MAX_DATA, Settings, Version};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex, join, sink,
};

/// Bytes that were read since the other task ran, and the most there were.
#[derive(Default)]
struct Row {
    bytes: AtomicUsize,
    most: AtomicUsize,
    total: AtomicUsize,
}

/// A reader that has always more: what the peer says first, and then one
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

/// What a client says that opens so many channels.
fn client_opens(channels: u32) -> Vec<u8> {
    let mut says = Vec::new();
    let hello = Control::Hello {
        magic: DEFAULT_MAGIC,
    };
    let body = Settings::default().encode();
    let opens = (0..channels).map(|nth| Control::Open {
        channel: 1 + 2 * nth,
    });
    for control in [hello, Control::Settings { body }].into_iter().chain(opens) {
        Frame::Control(control).encode(Version::V1, &mut says);
    }
    says
}

/// The most that is read in a row of a client that opens a channel and then says
/// this again and again, until so much was read in all.
async fn most_in_a_row(config: Config, again: &[Frame<'_>], total: usize) -> usize {
    let says = client_opens(1);
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
    let connection = Connection::server(join(io, sink()), config);
    while row.total.load(Relaxed) < total {
        row.bytes.store(0, Relaxed);
        assert!(row.most.load(Relaxed) < TOO_MUCH);
        tokio::task::yield_now().await;
    }
    drop(connection);
    row.most.load(Relaxed)
}

const MIB: usize = 1 << 20;

/// Each costs as much as a few hundred bytes more in a large one.
#[tokio::test]
async fn frames_of_one_byte_are_read_some_hundred_at_a_time() {
    let config = Config::default().initial_window(16 << 20).unwrap();
    let frame = Frame::Data {
        channel: 1,
        body: b"x",
    };
    let most = most_in_a_row(config, &[frame], 4 * MIB).await;
    assert!(most <= 6 << 10, "{most} bytes");
}

/// Each becomes a task of the application's.
#[tokio::test]
async fn channels_that_are_opened_are_read_few_hundred_at_a_time() {
    let open = |n: u32| Frame::Control(Control::Open { channel: 1 + 2 * n });
    let opens: Vec<_> = (1..1000).map(open).collect();
    let most = most_in_a_row(Config::default(), &opens, 6 << 10).await;
    assert!(most <= 3 << 10, "{most} bytes");
}

/// Each ends a task of the application's, or may.
#[tokio::test]
async fn channels_that_are_given_up_are_read_few_at_a_time() {
    let pair = |channel| {
        let reset = Control::Reset {
            channel,
            code: 0,
            debt: 0,
        };
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
    let frame = Frame::Control(Control::Fin {
        channel: 1,
        debt: 0,
    });
    let most = most_in_a_row(config, &[frame], 200 << 10).await;
    assert!(most <= 32 << 10, "{most} bytes");
}

const CHANNELS: usize = 1024;

/// A connection with as many channels as it takes, and the peer's end of it.
async fn with_channels() -> (Connection, DuplexStream, Vec<Channel>) {
    let (near, mut far) = duplex(MIB);
    let connection = Connection::server(near, Config::default());
    far.write_all(&client_opens(CHANNELS as u32)).await.unwrap();
    let mut channels = Vec::new();
    while channels.len() < CHANNELS {
        channels.push(connection.accept().await.unwrap());
    }
    (connection, far, channels)
}

/// The peer says its hello again.
async fn breaks_the_protocol(_: &Connection, mut far: DuplexStream) -> Option<DuplexStream> {
    far.write_all(&client_opens(0)).await.unwrap();
    Some(far)
}

/// The most channels whose tasks end in a row, once the connection has.
async fn most_ends(
    end: impl AsyncFnOnce(&Connection, DuplexStream) -> Option<DuplexStream>,
) -> usize {
    let (connection, far, channels) = with_channels().await;
    let (begun, ended) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    for mut channel in channels {
        let (begun, ended) = (begun.clone(), ended.clone());
        tokio::spawn(async move {
            begun.fetch_add(1, Relaxed);
            channel.read_u8().await.unwrap_err();
            drop(channel);
            ended.fetch_add(1, Relaxed);
        });
    }
    while begun.load(Relaxed) < CHANNELS {
        tokio::task::yield_now().await;
    }
    let far = end(&connection, far).await;
    let (mut before, mut most) = (0, 0);
    while before < CHANNELS {
        tokio::task::yield_now().await;
        let now = ended.load(Relaxed);
        most = most.max(now - before);
        before = now;
    }
    drop(far);
    most
}

#[tokio::test]
async fn the_channels_of_a_connection_that_ends_learn_of_it_few_at_a_time() {
    let violation = most_ends(breaks_the_protocol).await;
    let closed = most_ends(async |connection: &Connection, far| {
        connection.close("");
        Some(far)
    });
    let closed = closed.await;
    let lost = most_ends(async |_: &Connection, far| {
        drop(far);
        None
    });
    let lost = lost.await;
    let most = [violation, closed, lost];
    assert!(most.iter().all(|most| (1..=16).contains(most)), "{most:?}");
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn all_channels_learn_of_an_end_though_the_runtime_goes_amid_it() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let woken = Arc::new(Woken::default());
    let kept = runtime.block_on(async {
        let (connection, far, mut channels) = with_channels().await;
        let waker = Waker::from(woken.clone());
        tokio::task::yield_now().await; // the opens have used up this turn
        for channel in &mut channels {
            let mut buf = [0];
            let read = Pin::new(channel).poll_read(
                &mut Context::from_waker(&waker),
                &mut ReadBuf::new(&mut buf),
            );
            assert!(read.is_pending());
        }
        let far = breaks_the_protocol(&connection, far).await;
        while woken.0.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        (connection, far, channels)
    });
    assert!(woken.0.load(Relaxed) < CHANNELS, "not all at once");
    drop(runtime);
    assert_eq!(woken.0.load(Relaxed), CHANNELS);
    drop(kept);
}
