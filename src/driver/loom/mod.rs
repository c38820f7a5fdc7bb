//! Models of how the task and its handles meet, for loom, which runs them in
//! every order that a number of pre-emptions allows. The code is the driver's
//! own; the transport leads to a second core, and no time passes. A wake that
//! is lost is a deadlock, which loom reports.

mod peer;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};
use loom::thread::{JoinHandle, spawn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use self::peer::{Peer, Wire};
use super::channel::Channel;
use super::connection::Connection;
use super::shared::ENDS;
use super::task::Task;
use crate::config::Config;
use crate::observability::Origin;
use crate::proto::{ChannelError, Key, Role};

/// Runs a model in every order that `LOOM_MAX_PREEMPTIONS` (2) allows.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime for the task's timer, which never fires");
    let _entered = runtime.enter();
    let mut builder = loom::model::Builder::new();
    let bound = *builder.preemption_bound.get_or_insert(2);
    builder.max_branches = 100_000;
    let orders = Arc::new(AtomicUsize::new(0));
    let count = orders.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        check();
    });
    println!("{bound} pre-emptions: {} orders", orders.load(Relaxed));
}

/// Wakes a thread that waits for a future. (loom's own is awake without a
/// reason at times, which makes for twice the orders.)
struct Sleeper(Mutex<bool>, Condvar);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let sleeper = Arc::new(Sleeper(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(sleeper.clone());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let mut woken = sleeper.0.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = sleeper.1.wait(woken).unwrap();
        }
    }
}

/// A connection whose hello is through, its task, and the other end of it.
fn connect(role: Role, habit: fn(&mut Peer)) -> (Connection, Task, Wire) {
    connect_with(64 << 20, 1, role, habit)
}

/// The peer's channels share `budget` bytes above their initial windows, and a channel
/// holds `send_buffer` bytes that have not left.
fn connect_with(
    budget: u64,
    send_buffer: usize,
    role: Role,
    habit: fn(&mut Peer),
) -> (Connection, Task, Wire) {
    let other = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let wire = Wire::new(other, budget, habit);
    let config = Config::default().max_channels(256);
    let config = config
        .and_then(|config| config.send_buffer(send_buffer))
        .expect("in range");
    let config = config.receive_budget(budget);
    let lease = config.get_memory_budget().try_lease();
    let (connection, mut task) =
        Connection::with_task(role, wire.clone(), config, Origin::default(), lease);
    rest(&mut task);
    assert!(
        connection.rtt().is_some(),
        "the hello and a ping are through"
    );
    (connection, task, wire)
}

/// Runs the task until it has nothing to do.
fn rest(task: &mut Task) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..8 {
        assert!(Pin::new(&mut *task).poll(&mut cx).is_pending());
    }
}

fn run(task: Task) -> JoinHandle<()> {
    spawn(move || block_on(task))
}

/// A channel that takes no more, on a transport that takes no more.
fn full_channel(connection: &Connection, task: &mut Task, wire: &Wire) -> Channel {
    let mut channel = block_on(connection.open()).unwrap();
    rest(task);
    wire.peer(|peer| peer.room = 1);
    for _ in 0..2 {
        block_on(channel.write_all(b"x")).unwrap(); // in the transport, in the channel
        rest(task);
    }
    assert!(full(&mut channel));
    channel
}

/// Whether the channel takes nothing now.
fn full(channel: &mut Channel) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(channel).poll_write(&mut cx, b"x").is_pending()
}

/// Opens a channel, asks and gets the answer.
async fn ask(connection: Connection) {
    let mut channel = connection.open().await.expect("the peer takes channels");
    channel.write_all(b"x").await.expect("the peer reads");
    let mut answer = [0; 2];
    channel
        .read_exact(&mut answer)
        .await
        .expect("the peer answers");
    assert_eq!(&answer, b"ok");
}

/// The error of a channel.
fn reason<T>(result: io::Result<T>) -> ChannelError {
    let error = result.err().expect("an error");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    ChannelError::clone(inner.expect("an error of a channel"))
}

/// Opens all the channels that the peer takes.
fn open_all(connection: &Connection, task: &mut Task) -> Vec<Key> {
    let mut inner = connection.handle.0.lock();
    let keys = std::iter::from_fn(|| {
        let state = &mut *inner;
        state.memory.need_to_open(&mut state.core);
        state.core.open().ok()
    });
    let keys = keys.collect();
    drop(inner);
    rest(task);
    keys
}

#[test]
fn an_open_that_waits_learns_of_a_go_away() {
    model(|| {
        let (connection, mut task, wire) = connect(Role::Client, Peer::waits);
        open_all(&connection, &mut task);
        wire.peer(|peer| peer.core.close("bye"));
        let task = run(task);
        assert!(block_on(connection.open()).is_err());
        task.join().unwrap();
    });
}

#[test]
fn an_open_that_waits_gets_the_channel_that_is_free_again() {
    model(|| {
        let (connection, mut task, wire) = connect(Role::Client, Peer::waits);
        let keys = open_all(&connection, &mut task);
        wire.peer(Peer::lets_go);
        let task = run(task);
        connection
            .handle
            .0
            .change(|inner| inner.core.release(keys[0]));
        block_on(connection.open()).expect("one channel more");
        connection.close("");
        task.join().unwrap();
    });
}

#[test]
fn a_writer_that_waits_learns_of_a_stop() {
    model(|| {
        let (connection, mut task, wire) = connect(Role::Client, Peer::waits);
        let mut channel = full_channel(&connection, &mut task, &wire);
        wire.peer(|peer| peer.core.stop(peer.channels[0], 6));
        let task = run(task);
        let written = block_on(channel.write_all(b"x"));
        assert_eq!(reason(written), ChannelError::Stopped(6));
        wire.peer(|peer| peer.room = usize::MAX);
        connection.close("");
        task.join().unwrap();
    });
}

#[test]
fn a_reader_that_waits_learns_of_a_reset() {
    model(|| {
        let (connection, mut task, wire) = connect(Role::Client, Peer::waits);
        let mut channel = block_on(connection.open()).unwrap();
        rest(&mut task);
        wire.peer(|peer| peer.core.reset(peer.channels[0], 7));
        let task = run(task);
        assert_eq!(reason(block_on(channel.read_u8())), ChannelError::Reset(7));
        connection.close("");
        task.join().unwrap();
    });
}

#[test]
fn a_drop_takes_no_wake_from_another_channel() {
    model(|| {
        let (connection, task, _) = connect(Role::Client, Peer::answers);
        let mut gone = block_on(connection.open()).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut gone).poll_read(&mut cx, &mut ReadBuf::new(&mut [0; 2]));
        assert!(read.is_pending());
        block_on(gone.write_all(b"x")).unwrap(); // the answer is on its way
        let task = run(task);
        drop(gone);
        block_on(ask(connection));
        task.join().unwrap();
    });
}

#[test]
fn an_accept_that_waits_learns_of_a_close() {
    model(|| {
        let (connection, task, _) = connect(Role::Server, Peer::waits);
        let task = run(task);
        let accepting = connection.clone();
        let accepted = spawn(move || block_on(accepting.accept()).is_some());
        connection.close("bye");
        assert!(!accepted.join().unwrap());
        drop(connection);
        task.join().unwrap();
    });
}

#[test]
fn an_accept_that_waits_gets_the_channel_and_then_learns_of_the_end() {
    model(|| {
        let (connection, task, wire) = connect(Role::Server, Peer::waits);
        wire.peer(|peer| _ = peer.core.open());
        let task = run(task);
        assert!(block_on(connection.accept()).is_some());
        wire.peer(|peer| peer.ended = true);
        assert!(block_on(connection.accept()).is_none());
        task.join().unwrap();
    });
}

#[test]
fn a_writer_without_credit_goes_on_with_the_window() {
    model(|| {
        let half = 32 << 10; // of the window
        let (connection, mut task, wire) = connect_with(0, half, Role::Client, Peer::waits);
        let mut channel = block_on(connection.open()).unwrap();
        for _ in 0..3 {
            block_on(channel.write_all(&vec![0; half])).unwrap(); // the last can't leave
            rest(&mut task);
        }
        assert!(full(&mut channel), "there is no credit");
        wire.peer(|peer| peer.read(peer.channels[0]));
        let task = run(task);
        block_on(channel.write_all(b"x")).unwrap();
        block_on(channel.shutdown()).unwrap();
        drop((channel, connection));
        task.join().unwrap();
        let over = wire.peer(|peer| peer.read(peer.channels[0]));
        assert!(over && wire.peer(|peer| peer.received) == 3 * half as u64 + 1);
    });
}

#[test]
fn writes_of_two_threads_leave() {
    model(|| {
        let (connection, task, wire) = connect(Role::Client, Peer::answers);
        let [mut one, mut two] = [(); 2].map(|()| block_on(connection.open()).unwrap());
        let task = run(task);
        let other = spawn(move || {
            block_on(one.write_all(b"x")).unwrap();
            block_on(one.shutdown()).unwrap();
        });
        block_on(two.write_all(b"x")).unwrap();
        block_on(two.shutdown()).unwrap();
        other.join().unwrap();
        drop((two, connection));
        task.join().unwrap();
        assert_eq!(wire.peer(|peer| peer.received), 2);
    });
}

#[test]
fn a_write_leaves_once_the_transport_takes_bytes_again() {
    model(|| {
        let (connection, mut task, wire) = connect(Role::Client, Peer::answers);
        wire.peer(|peer| peer.patience = 2);
        let mut channel = block_on(connection.open()).unwrap();
        rest(&mut task);
        block_on(channel.write_all(b"x")).unwrap(); // so that the timer is set
        rest(&mut task);
        wire.peer(|peer| peer.room = 3);
        let task = run(task);
        let room = spawn(move || wire.peer(|peer| peer.room = usize::MAX));
        block_on(channel.write_all(b"x")).unwrap();
        assert_eq!(block_on(channel.read_u16()).unwrap().to_be_bytes(), *b"ok");
        drop((channel, connection));
        room.join().unwrap();
        task.join().unwrap();
    });
}

#[test]
fn a_read_that_frees_the_window_tells_the_peer() {
    model(|| {
        let (connection, mut task, wire) = connect_with(0, 1, Role::Server, Peer::waits);
        let window = 64 << 10;
        wire.peer(|peer| {
            let key = peer.core.open().unwrap();
            peer.channels.push(key);
            assert_eq!(peer.core.write(key, &vec![1; window]), Ok(window));
        });
        rest(&mut task);
        let mut channel = block_on(connection.accept()).expect("the channel");
        wire.peer(|peer| _ = peer.core.write(peer.channels[0], b"x"));
        let task = run(task);
        block_on(channel.read_exact(&mut vec![0; window + 1])).expect("all of it");
        drop((channel, connection));
        task.join().unwrap();
    });
}

#[test]
fn a_reader_behind_many_learns_of_a_close_beside_a_write() {
    model(|| {
        let (connection, mut task, _) = connect(Role::Client, Peer::waits);
        let open = |_| block_on(connection.open()).unwrap();
        let mut channels: Vec<Channel> = (0..ENDS + 2).map(open).collect();
        rest(&mut task);
        for channel in &mut channels {
            let mut cx = Context::from_waker(Waker::noop());
            let read = Pin::new(channel).poll_read(&mut cx, &mut ReadBuf::new(&mut [0]));
            assert!(read.is_pending());
        }
        let mut last = channels.pop().expect("a channel");
        let mut first = channels.swap_remove(0);
        let task = run(task);
        let closing = connection.clone();
        let closed = spawn(move || {
            closing.close("bye");
            block_on(first.write_all(b"x")).unwrap_err();
        });
        assert!(block_on(last.read_u8()).is_err());
        closed.join().unwrap();
        task.join().unwrap();
    });
}

#[test]
fn who_waits_learns_that_the_task_is_gone() {
    model(|| {
        let (connection, mut task, _) = connect(Role::Client, Peer::waits);
        let mut channel = block_on(connection.open()).unwrap();
        rest(&mut task);
        let gone = spawn(move || drop(task));
        let accepting = connection.clone();
        let accepted = spawn(move || block_on(accepting.accept()).is_some());
        assert!(block_on(channel.read_u8()).is_err());
        assert!(!accepted.join().unwrap());
        gone.join().unwrap();
    });
}

#[test]
fn the_last_handle_ends_the_task() {
    model(|| {
        let (connection, task, _) = connect(Role::Client, Peer::answers);
        let mut channel = block_on(connection.open()).unwrap();
        let task = run(task);
        let other = spawn(move || drop(connection));
        block_on(channel.shutdown()).unwrap();
        drop(channel);
        other.join().unwrap();
        task.join().unwrap();
    });
}
