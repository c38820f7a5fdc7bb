//! Nothing that was written is lost at the end of a connection, and nothing is
//! left behind.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tcpchan::proto::ConnectionError;
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, Protocol, Settings, Version};
use tcpchan::{Channel, Config, Connection, SocketProfile};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{Instant, sleep, timeout};

fn frame(version: Version, control: Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::Control(control).encode(version, &mut bytes);
    bytes
}

fn v1(control: Control) -> Vec<u8> {
    frame(Version::V1, control)
}

fn data(channel: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for body in vec![7; len].chunks(16 << 10) {
        Frame::Data { channel, body }.encode(Version::V1, &mut bytes);
    }
    bytes
}

const MAGIC: u32 = DEFAULT_MAGIC;

fn hello(control: Control) -> Vec<u8> {
    let mut settings = Settings::default();
    settings.receive_budget = 16 << 20; // all that the tests send
    let body = settings.encode();
    [v1(control), v1(Control::Settings { body })].concat()
}

/// All frames up to the end, and the bytes of DATA.
async fn hear(mut io: impl AsyncRead + Unpin) -> (Vec<Control>, usize) {
    let mut bytes = Vec::new();
    let _ = io.read_to_end(&mut bytes).await;
    let mut decoder = Decoder::new(Protocol::Auto);
    let (mut input, mut controls, mut payload) = (&bytes[..], Vec::new(), 0);
    while let Some(decoded) = decoder.decode(&mut input).unwrap() {
        match decoded {
            Decoded::Control(control) => controls.push(control),
            Decoded::Payload(bytes) => payload += bytes.len(),
            Decoded::Data { .. } | Decoded::Unknown { .. } => {}
        }
    }
    (controls, payload)
}

fn both(buffer: usize) -> (Connection, Connection) {
    let (near, far) = duplex(buffer);
    (
        Connection::client(near, Config::default()),
        Connection::server(far, Config::default()),
    )
}

/// A server that has asked for an answer, and the peer's end, which has said its hello.
async fn greeted() -> (Connection, DuplexStream) {
    let (near, mut far) = duplex(1 << 10);
    let server = Connection::server(near, Config::default());
    let hello = hello(Control::Hello { magic: MAGIC });
    far.write_all(&hello).await.unwrap();
    sleep(Duration::from_millis(1)).await; // until its ping has left
    (server, far)
}

const OPEN: Control = Control::Open { channel: 1 };
const FIN: Control = Control::Fin {
    channel: 1,
    debt: 0,
};

/// A server, and its first channel, of which the peer says this after its hello.
async fn accepted(
    near: impl AsyncRead + AsyncWrite + Send + 'static,
    far: &mut (impl AsyncWrite + Unpin),
    config: Config,
    says: impl IntoIterator<Item = Control>,
) -> (Connection, Channel) {
    let server = Connection::server(near, config);
    let mut bytes = hello(Control::Hello { magic: MAGIC });
    bytes.extend(says.into_iter().flat_map(v1));
    far.write_all(&bytes).await.unwrap();
    let channel = server.accept().await.unwrap();
    (server, channel)
}

/// Bytes that are taken of a peer that sends for as long as it may: little more.
async fn floods(mut far: DuplexStream) -> usize {
    let mut taken = 0;
    while let Ok(n @ 1..) = far.write(&[7; 1 << 10]).await {
        taken += n;
        assert!(taken <= 300 << 10);
    }
    taken
}

/// A peer over a link of 10 kB/s.
async fn slowly(mut io: DuplexStream) -> usize {
    let (mut bytes, mut piece) = (Vec::new(), [0; 1000]);
    // Not for ever, since a socket whose connection is over stays open.
    let minute = Duration::from_secs(60);
    while let Ok(Ok(n @ 1..)) = timeout(minute, io.read(&mut piece)).await {
        bytes.extend_from_slice(&piece[..n]);
        sleep(Duration::from_millis(100)).await;
    }
    hear(&bytes[..]).await.1
}

/// A channel counts as over once its last bytes are encoded, up to 64 KiB
/// before they leave. The connection then closes and gives the transport one second for them.
#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_shutdown_arrives_after_the_drop() {
    let (near, mut far) = duplex(1000);
    let (server, mut channel) = accepted(near, &mut far, Config::default(), [OPEN, FIN]).await;
    channel.write_all(&[7; 2_000]).await.unwrap();
    channel.write_all(&[7; 48_000]).await.unwrap();
    channel.shutdown().await.unwrap();
    drop((channel, server));
    assert_eq!(slowly(far).await, 50_000);
}

/// The same at a graceful shutdown: the server drained, the answer was written, then the peer
/// gets a part of it.
#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_drain_arrives() {
    let (near, mut far) = duplex(1000);
    let (server, mut channel) = accepted(near, &mut far, Config::default(), [OPEN, FIN]).await;
    server.drain();
    sleep(Duration::from_millis(10)).await;
    // The drain's ping is the first one (token 1) or the second.
    far.write_all(&v1(Control::Pong { token: 1 }))
        .await
        .unwrap();
    far.write_all(&v1(Control::Pong { token: 2 }))
        .await
        .unwrap();
    sleep(Duration::from_millis(10)).await;
    channel.write_all(&[7; 2_000]).await.unwrap();
    channel.write_all(&[7; 48_000]).await.unwrap();
    channel.shutdown().await.unwrap();
    drop(channel);
    assert_eq!(slowly(far).await, 50_000, "{:?}", server.error());
}

/// The same below the transport: one second after the GOAWAY the socket is dropped while the
/// kernel still has bytes to send; what the peer then says (here a window) makes it a TCP reset.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_kernel_still_holds_arrives() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = socket
        .connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let (server, mut channel) = accepted(near, &mut far, Config::default(), [OPEN, FIN]).await;
    channel.write_all(&[7; 60_000]).await.unwrap();
    channel.shutdown().await.unwrap();
    drop((channel, server));
    sleep(Duration::from_millis(1500)).await;
    let (channel, limit) = (1, 1 << 20);
    let window = v1(Control::Window {
        channel,
        limit,
        loan: 2 << 20,
    });
    far.write_all(&window).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let (controls, payload) = hear(far).await;
    assert_eq!(payload, 60_000, "{controls:?}");
}

/// What waits for the peer's window is dropped after
/// `handshake_timeout`, which says nothing of that.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_what_was_written_before_the_drop() {
    let (client, server) = both(1 << 20);
    let mut near = client.open().await.unwrap();
    near.write_all(&[7; 128 << 10]).await.unwrap();
    near.shutdown().await.unwrap();
    drop((near, client));
    let mut far = server.accept().await.unwrap();
    sleep(Duration::from_secs(11)).await;
    let mut got = Vec::new();
    let read = far.read_to_end(&mut got).await;
    assert!(
        read.is_ok() && got.len() == 128 << 10,
        "{read:?} {}",
        got.len()
    );
}

/// Where bytes wait at the end, the GOAWAY is never taken from the core.
#[tokio::test(start_paused = true)]
async fn the_goaway_follows_bytes_that_wait() {
    let (near, mut far) = duplex(1 << 10);
    let (server, mut channel) = accepted(near, &mut far, Config::default(), [OPEN]).await;
    channel.write_all(&[7; 50_000]).await.unwrap();
    far.write_all(&[1, 0x70]).await.unwrap(); // a violation
    sleep(Duration::from_millis(100)).await;
    let (controls, _) = hear(far).await;
    let told = matches!(server.error(), Some(ConnectionError::Violation { .. }));
    assert!(told, "{:?}", server.error());
    let last = controls.last();
    assert!(matches!(last, Some(Control::GoAway { .. })), "{controls:?}");
}

/// A write that goes to the transport directly does not move the task's timer:
/// `answer_within` promises a second and `suspect_after`.
#[tokio::test(start_paused = true)]
async fn a_request_into_a_black_hole_is_noticed_in_time() {
    let (near, far) = duplex(1 << 20);
    let client = Connection::client(near, Config::default());
    let (mut read, mut write) = tokio::io::split(far);
    let hole = Arc::new(AtomicBool::new(false));
    let silent = hole.clone();
    tokio::spawn(async move {
        let reply = hello(Control::HelloReply { magic: MAGIC });
        write.write_all(&reply).await.unwrap();
        let mut decoder = Decoder::new(Protocol::V1);
        let mut bytes = vec![0; 4096];
        loop {
            let n = read.read(&mut bytes).await.unwrap();
            let mut input = &bytes[..n];
            while let Some(decoded) = decoder.decode(&mut input).unwrap() {
                if let Decoded::Control(Control::Ping { token }) = decoded
                    && !silent.load(Relaxed)
                {
                    let pong = v1(Control::Pong { token });
                    write.write_all(&pong).await.unwrap();
                }
            }
        }
    });
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"first").await.unwrap();
    sleep(Duration::from_secs(5)).await; // kept alive by a pool
    hole.store(true, Relaxed);
    channel.write_all(b"second").await.unwrap();
    sleep(Duration::from_millis(3500)).await;
    assert!(client.is_suspect());
}

/// The transport lives as long as a handle, however long the connection is over.
#[tokio::test(start_paused = true)]
async fn the_socket_is_closed_when_the_connection_is_over() {
    let (near, mut far) = duplex(1 << 20);
    let server = Connection::server(near, Config::default());
    far.write_all(&[1, 0x70]).await.unwrap(); // a violation
    sleep(Duration::from_secs(60)).await;
    assert!(server.error().is_some());
    assert!(far.write_all(b"x").await.is_err(), "still open");
}

/// From the driver.
#[tokio::test(start_paused = true)]
async fn a_version_0_reader_ends_with_its_writer() {
    let (near, mut far) = duplex(1 << 20);
    let client = Connection::client(near, Config::default().protocol(Protocol::V0));
    let reply = frame(Version::V0, Control::HelloReply { magic: MAGIC });
    far.write_all(&reply).await.unwrap();
    let (mut read, write) = client.open().await.unwrap().into_split();
    let reader = tokio::spawn(async move { read.read_to_end(&mut Vec::new()).await });
    sleep(Duration::from_secs(1)).await;
    drop(write);
    let ended = timeout(Duration::from_secs(600), reader).await;
    assert!(ended.is_ok(), "the reader waits for ever");
}

/// What an executor's waker may hold: the last reference to a task, and so to its channel.
struct Last(#[allow(dead_code)] Mutex<Option<Channel>>);

impl Wake for Last {
    fn wake(self: Arc<Self>) {}
}

/// shared.rs:234: `clone_from` drops the waker that was there under the lock.
#[test]
fn a_waker_is_not_dropped_under_the_lock() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (client, _server) = both(1 << 20);
            let mut waits = client.open().await.unwrap();
            let other = client.open().await.unwrap();
            let waker = Waker::from(Arc::new(Last(Mutex::new(Some(other)))));
            let mut poll = |waker: Waker| {
                let mut bytes = [0; 9];
                let mut buf = ReadBuf::new(&mut bytes);
                let mut cx = Context::from_waker(&waker);
                assert!(
                    Pin::new(&mut waits)
                        .poll_read(&mut cx, &mut buf)
                        .is_pending()
                );
            };
            poll(waker);
            poll(Waker::noop().clone());
        });
        let _ = done.send(());
    });
    let ended = is_done.recv_timeout(Duration::from_secs(10));
    assert!(ended.is_ok(), "a deadlock");
}

/// A write that fails is taken for the end of what can be read.
#[tokio::test(start_paused = true)]
async fn a_failed_write_does_not_hide_what_was_received() {
    let (near, mut far) = duplex(4 << 20);
    let mut all = hello(Control::Hello { magic: MAGIC });
    all.extend(v1(Control::Ping { token: 1 })); // there is something to write
    for channel in (1..41).step_by(2) {
        all.extend(v1(Control::Open { channel }));
        all.extend(data(channel, 60_000));
        all.extend(v1(Control::Fin { channel, debt: 0 }));
    }
    let text = "bye".to_owned();
    all.extend(v1(Control::GoAway {
        last: 0,
        code: 0,
        text,
    }));
    far.write_all(&all).await.unwrap();
    drop(far);
    let server = Connection::server(near, Config::default());
    sleep(Duration::from_secs(5)).await;
    let error = server.error();
    let mut whole = 0;
    while let Some(mut channel) = server.accept().await {
        let mut got = Vec::new();
        whole += usize::from(channel.read_to_end(&mut got).await.is_ok());
    }
    let orderly = matches!(error, Some(ConnectionError::PeerClosed { .. }));
    assert!(whole == 20 && orderly, "{whole} of 20 channels, {error:?}");
}

/// A peer that broke the protocol keeps talking and reads nothing.
#[tokio::test(start_paused = true)]
async fn a_peer_that_broke_the_protocol_is_gone_within_a_second() {
    let (near, mut far) = duplex(1 << 10);
    let server = Connection::server(near, Config::default());
    far.write_all(&[1, 0x70]).await.unwrap();
    assert!(server.accept().await.is_none());
    let start = Instant::now();
    while far.write_all(&[7; 100]).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() <= Duration::from_millis(1_010));
}

/// It would send megabytes, and have them copied, before it is closed.
#[tokio::test(start_paused = true)]
async fn of_a_peer_that_broke_the_protocol_little_more_is_read() {
    let (near, mut far) = duplex(1 << 10);
    let server = Connection::server(near, Config::default());
    far.write_all(&[1, 0x70]).await.unwrap();
    assert!(server.accept().await.is_none());
    let start = Instant::now();
    let taken = floods(far).await;
    assert!(taken >= 200 << 10, "{taken} bytes"); // what an honest one has under way
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// One that answers pings may be honest and behind in reading: what was written to
/// it may still be on its way, and a close with bytes unread would be a TCP reset.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_floods_on_behind_a_violation_gets_all_that_was_written_to_it() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut far = socket.connect(to).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let profile = SocketProfile::default().unsent(None).unwrap(); // the kernel takes all
    let (server, mut channel) = accepted(
        near,
        &mut far,
        Config::default().socket(profile),
        [OPEN, FIN],
    )
    .await;
    let mut first = Vec::with_capacity(4096);
    far.read_buf(&mut first).await.unwrap(); // with a ping
    let pong = v1(Control::Pong { token: 1 });
    far.write_all(&pong).await.unwrap();
    channel.write_all(&[7; 300_000]).await.unwrap();
    channel.shutdown().await.unwrap();
    sleep(Duration::from_millis(100)).await; // until the kernel has it
    let floods = [&[1, 0x70][..], &[7; 512 << 10]].concat();
    let _ = timeout(Duration::from_millis(100), far.write_all(&floods)).await;
    sleep(Duration::from_millis(100)).await; // it reads late
    assert!(server.rtt().is_some());
    let (controls, payload) = hear((&first[..]).chain(far)).await;
    let last = controls.last();
    assert!(matches!(last, Some(Control::GoAway { .. })), "{controls:?}");
    assert_eq!(payload, 300_000);
}

/// It waits for a second, and takes no more meanwhile.
#[tokio::test(start_paused = true)]
async fn of_one_that_has_answered_a_ping_little_more_is_read_either() {
    let (server, mut far) = greeted().await;
    far.write_all(&v1(Control::Pong { token: 1 }))
        .await
        .unwrap();
    far.write_all(&[1, 0x70]).await.unwrap();
    assert!(server.accept().await.is_none());
    let start = Instant::now();
    floods(far).await;
    assert_eq!(start.elapsed().as_millis() / 10, 100, "a second");
}

/// A close is no violation: what the peer has under way is read to its end.
#[tokio::test(start_paused = true)]
async fn an_orderly_end_reads_whatever_the_peer_still_sends() {
    let (server, mut far) = greeted().await;
    server.close("bye");
    far.write_all(&[7; 1 << 20]).await.unwrap();
    let (controls, _) = hear(far).await;
    let last = controls.last();
    assert!(matches!(last, Some(Control::GoAway { .. })), "{controls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dribbles_does_not_hold_up_an_orderly_end_for_ever() {
    let (server, mut far) = greeted().await;
    server.close("bye");
    let start = Instant::now();
    while far.write_u8(7).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(3600), "still open");
        sleep(Duration::from_secs(10)).await;
    }
}

/// As after a process was suspended: the time is up and the transport takes a part at
/// the same moment.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_taken_late_is_no_stall() {
    let stall = Duration::from_secs(1);
    let (near, mut far) = duplex(1 << 10);
    let config = Config::default().write_stall(stall).unwrap();
    let (server, mut channel) = accepted(near, &mut far, config, [OPEN]).await;
    for _ in 0..2 {
        channel.write_all(&[7; 16 << 10]).await.unwrap(); // by itself, then by the task
    }
    sleep(stall / 2).await;
    far.read_exact(&mut [0; 512]).await.unwrap();
    tokio::time::advance(stall).await;
    sleep(stall / 4).await;
    assert!(server.error().is_none(), "{:?}", server.error());
    sleep(stall).await;
    assert!(server.error().is_some());
}
