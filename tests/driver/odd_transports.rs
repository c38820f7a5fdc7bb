//! A transport that panics, and one that needs its runtime: neither is for the
//! application's tasks to bear.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tcpchan::proto::ConnectionError;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, join, sink,
};
use tokio::runtime::{Builder, Handle};
use tokio::time::sleep;

#[derive(Default)]
struct Habit {
    panics_at_write: AtomicBool,
    panics_at_read: AtomicBool,
    /// It was polled outside of its runtime.
    lost: AtomicBool,
}

struct Odd {
    io: DuplexStream,
    runtime: Handle,
    habit: Arc<Habit>,
}

impl Odd {
    fn look(&self) {
        let here = Handle::try_current().map(|handle| handle.id());
        let lost = here.ok() != Some(self.runtime.id());
        self.habit.lost.fetch_or(lost, Relaxed);
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.look();
    }
}

impl AsyncRead for Odd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.look();
        assert!(!self.habit.panics_at_read.load(Relaxed), "as it is to");
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Odd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look();
        assert!(!self.habit.panics_at_write.load(Relaxed), "as it is to");
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

struct World {
    client: Connection,
    channel: Channel,
    far: Channel,
    _server: Connection,
    habit: Arc<Habit>,
}

/// A channel on a transport that a test may spoil.
async fn connect() -> World {
    let (near, far) = duplex(1 << 16);
    let habit = Arc::new(Habit::default());
    let odd = Odd {
        io: near,
        runtime: Handle::current(),
        habit: habit.clone(),
    };
    let client = Connection::client(odd, Config::default());
    let server = Connection::server(far, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"x").await.unwrap();
    let mut far = server.accept().await.unwrap();
    far.read_u8().await.unwrap();
    World {
        client,
        channel,
        far,
        _server: server,
        habit,
    }
}

fn is_lost_by_panic(client: &Connection) -> bool {
    let error = client.error();
    matches!(&error, Some(ConnectionError::Lost(why)) if why.to_string().contains("panicked"))
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_at_a_write_ends_its_connection_and_no_task_of_the_application() {
    let mut world = connect().await;
    sleep(Duration::from_secs(1)).await; // all is quiet
    world.habit.panics_at_write.store(true, Relaxed);
    let mut writer = world.channel;
    let application = tokio::spawn(async move {
        while writer.write_all(b"hello").await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    application.await.unwrap();
    assert!(
        is_lost_by_panic(&world.client),
        "{:?}",
        world.client.error()
    );
    world.client.closed().await;
    world.far.read_u8().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_at_a_read_ends_its_connection_and_no_task_of_the_application() {
    let mut world = connect().await;
    world.habit.panics_at_read.store(true, Relaxed);
    world.far.write_all(b"hello").await.unwrap();
    world.channel.read_u8().await.unwrap_err();
    assert!(
        is_lost_by_panic(&world.client),
        "{:?}",
        world.client.error()
    );
    world.client.open().await.unwrap_err();
}

/// As one does that limits its rate by tokio's timers.
#[test]
fn a_transport_is_polled_in_the_runtime_of_its_connection() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut world = runtime.block_on(connect());
    let write = |channel: &mut Channel| {
        let mut cx = Context::from_waker(Waker::noop());
        let written = AsyncWrite::poll_write(Pin::new(channel), &mut cx, b"hello");
        assert!(matches!(written, Poll::Ready(Ok(5))));
    };
    for _ in 0..10 {
        write(&mut world.channel); // without a runtime
        Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async {
                write(&mut world.channel); // in another, which has no timers
            });
        runtime.block_on(async {
            let mut hello = [0; 10];
            world.far.read_exact(&mut hello).await.unwrap();
            world.far.write_all(&hello).await.unwrap();
            world.channel.read_exact(&mut hello).await.unwrap();
        });
    }
    assert!(world.client.error().is_none());
    assert!(!world.habit.lost.load(Relaxed));
}

/// A reader that fails with an error of the test's own.
struct Fails(io::ErrorKind);

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl AsyncRead for Fails {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(self.0, Broken)))
    }
}

/// Of a connection whose transport fails with this kind.
async fn error_of(kind: io::ErrorKind) -> io::Error {
    let connection = Connection::client(join(Fails(kind), sink()), Config::default());
    connection.closed().await;
    io::Error::from(connection.error().unwrap())
}

#[tokio::test]
async fn a_lost_connection_keeps_the_kind_and_the_source_of_the_transports_error() {
    let error = error_of(io::ErrorKind::HostUnreachable).await;
    assert_eq!(error.kind(), io::ErrorKind::HostUnreachable);
    let source = error.get_ref().unwrap().source();
    assert!(source.is_some_and(|source| source.is::<Broken>()));
}

#[tokio::test]
async fn a_lost_connection_has_no_kind_that_means_something_else_of_a_channel() {
    for kind in [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::Interrupted,
        io::ErrorKind::WouldBlock,
    ] {
        let error = error_of(kind).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{kind}");
    }
}
