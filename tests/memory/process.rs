//! What a thousand hostile peers can make a process hold stays under its
//! [`MemoryBudget`], and an honest client beside them is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, MAX_DATA, Protocol, Settings, Version};
use tcpchan::{Channel, Config, Connection, MemoryBudget};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;

use super::{MIB, Meter, WINDOW, allocated};

const PEERS: usize = 1_000;

/// Longer than it takes until nobody gets on any more. The time is virtual.
const ATTACK: Duration = Duration::from_secs(2);

/// What a peer says, frame by frame, as long as its `say` finds something.
#[derive(Clone, Copy)]
struct Kind {
    role: Role,
    version: Version,
    say: fn(&mut State, &mut Vec<u8>),
    reads: bool,
    app: App,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Client,
    Server,
}

/// What the application does with each channel.
#[derive(Clone, Copy, PartialEq)]
enum App {
    /// Keeps it and writes as much as it can.
    Writes,
    /// Keeps it.
    Keeps,
    /// Reads all that has come but the last byte.
    ReadsAlmostAll,
    /// Opens its own, writes, finishes and releases them.
    Sends,
    /// Opens its own and gives them up.
    GivesUp,
}

const SERVER: Kind = Kind {
    role: Role::Client,
    version: Version::V1,
    say: |_, _| (),
    reads: false,
    app: App::Keeps,
};

#[derive(Default)]
struct State {
    /// Frames that were said.
    nth: u64,
}

fn control(version: Version, control: Control, out: &mut Vec<u8>) {
    Frame::Control(control).encode(version, out);
}

fn data(version: Version, channel: u32, len: usize, out: &mut Vec<u8>) {
    let body = &[7; MAX_DATA][..len];
    Frame::Data { channel, body }.encode(version, out);
}

fn open(version: Version, channel: u32, out: &mut Vec<u8>) {
    control(version, Control::Open { channel }, out);
}

/// Opens all channels and fills their windows, and then the budget on the first.
fn fill(state: &mut State, out: &mut Vec<u8>) {
    let per_channel = WINDOW / MAX_DATA as u64;
    let windows = 1024 * per_channel;
    if state.nth < windows {
        let channel = 2 * (state.nth / per_channel) as u32 + 1;
        if state.nth.is_multiple_of(per_channel) {
            open(Version::V1, channel, out);
        }
        data(Version::V1, channel, MAX_DATA, out);
    } else if state.nth < windows + 64 * MIB / MAX_DATA as u64 {
        data(Version::V1, 1, MAX_DATA, out);
    }
}

/// One byte of each channel in a block of its own.
fn sparse(state: &mut State, out: &mut Vec<u8>) {
    if state.nth < 1024 {
        let channel = 2 * state.nth as u32 + 1;
        open(Version::V1, channel, out);
        data(Version::V1, channel, 1, out);
    }
}

/// Frames of a KiB on one channel.
fn pieces(state: &mut State, out: &mut Vec<u8>) {
    if state.nth == 0 {
        open(Version::V1, 1, out);
    } else if state.nth < 64 * 1024 {
        data(Version::V1, 1, 1024, out);
    }
}

fn opens(state: &mut State, out: &mut Vec<u8>) {
    if state.nth < 1024 {
        open(Version::V1, 2 * state.nth as u32 + 1, out);
    }
}

/// Channels with a debt that end.
fn debts(state: &mut State, out: &mut Vec<u8>) {
    let frames = (WINDOW + MIB) / MAX_DATA as u64;
    let (nth, at) = (state.nth / (frames + 2), state.nth % (frames + 2));
    let channel = 2 * nth as u32 + 1;
    if nth >= 60 {
    } else if at == 0 {
        open(Version::V1, channel, out);
    } else if at <= frames {
        data(Version::V1, channel, MAX_DATA, out);
    } else {
        control(Version::V1, Control::Fin { channel, debt: MIB }, out);
    }
}

/// Frames of each channel of version 0, with its OPEN.
const V0_FRAMES: u64 = 17;

fn version0(state: &mut State, out: &mut Vec<u8>) {
    let (nth, at) = (state.nth / V0_FRAMES, state.nth % V0_FRAMES);
    if nth < 4 {
        let channel = 2 * nth as u32 + 1;
        match at {
            0 => open(Version::V0, channel, out),
            _ => data(Version::V0, channel, MAX_DATA, out),
        }
    }
}

/// More than may be open, none of which is taken back.
fn refusals_of_version0(state: &mut State, out: &mut Vec<u8>) {
    if state.nth < 1024 + 9_000 {
        open(Version::V0, 2 * state.nth as u32 + 1, out);
    }
}

/// A peer of this side, until its time is over.
async fn attack(kind: Kind, io: DuplexStream, peak: Arc<Peak>) {
    let (magic, version) = (DEFAULT_MAGIC, kind.version);
    let mut out = Vec::with_capacity(32 << 10);
    let hello = match kind.role {
        Role::Client => Control::Hello { magic },
        Role::Server => Control::HelloReply { magic },
    };
    control(version, hello, &mut out);
    if version == Version::V1 {
        let mut settings = Settings::default();
        settings.max_channels = i32::MAX as u32;
        let body = settings.encode();
        control(version, Control::Settings { body }, &mut out);
    }
    let (mut reader, mut writer) = tokio::io::split(io);
    writer.write_all(&out).await.unwrap();
    peak.begin.notified().await;
    out.clear();
    let (mut state, mut heard) = (State::default(), [0; 1024]);
    loop {
        while out.len() < 4 << 10 {
            let before = out.len();
            (kind.say)(&mut state, &mut out);
            state.nth += 1;
            if out.len() == before {
                break;
            }
        }
        if out.is_empty() {
            break;
        }
        tokio::select! {
            written = writer.write(&out) => match written {
                Ok(n) => drop(out.drain(..n)),
                Err(_) => return,
            },
            read = reader.read(&mut heard), if kind.reads => if !matches!(read, Ok(1..)) { return },
        }
        peak.note();
    }
    loop {
        match kind.reads {
            true if matches!(reader.read(&mut heard).await, Ok(1..)) => {}
            true => return,
            false => std::future::pending().await,
        }
    }
}

/// The most that was held at any time.
#[derive(Default)]
struct Peak {
    /// What was allocated when there were no connections yet, only their peers.
    start: AtomicI64,
    bytes: AtomicU64,
    /// Tasks of the application.
    tasks: AtomicU64,
    begin: Notify,
}

impl Peak {
    fn note(&self) {
        let tasks = self.tasks.load(Relaxed) * TASK;
        let held = allocated() as i64 - self.start.load(Relaxed);
        let held = u64::try_from(held).unwrap_or(0).saturating_sub(tasks);
        self.bytes.fetch_max(held, Relaxed);
    }
}

/// This side's application of one connection.
async fn serve(connection: Connection, app: App, peak: Arc<Peak>) {
    if matches!(app, App::Sends | App::GivesUp) {
        peak.begin.notified().await;
        for nth in 0_u64.. {
            let Ok(mut channel) = connection.open().await else {
                return;
            };
            if app == App::Sends {
                let write = channel.write_all(&[7; 10_000]);
                let _ = tokio::time::timeout(Duration::from_millis(1), write).await;
                let _ = channel.shutdown().await;
            }
            drop(channel);
            if nth.is_multiple_of(64) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    let (mut tasks, mut kept) = (tokio::task::JoinSet::new(), Vec::new());
    while let Some(channel) = connection.accept().await {
        match app {
            App::Keeps => kept.push(channel),
            _ => {
                peak.tasks.fetch_add(1, Relaxed);
                tasks.spawn(hold(channel, app));
            }
        }
    }
}

static MUCH: &[u8] = &[7; MAX_DATA];

/// Bytes of a task of the application, which are not this crate's.
const TASK: u64 = 512;

async fn hold(mut channel: Channel, app: App) {
    match app {
        App::Writes => while channel.write_all(MUCH).await.is_ok() {},
        App::ReadsAlmostAll => {
            let (mut left, mut buf) = ((V0_FRAMES as usize - 1) * MAX_DATA - 1, vec![0; 4096]);
            while left > 0 {
                let n = left.min(buf.len());
                match channel.read(&mut buf[..n]).await {
                    Ok(n @ 1..) => left -= n,
                    _ => return,
                }
            }
        }
        _ => {}
    }
    std::future::pending().await
}

/// A thousand such peers hold no more than the budget, and an honest client beside them is
/// served. They get at least so many bytes: else they were not bad enough.
#[track_caller]
fn holds(kind: Kind, budget: MemoryBudget, least: u64) {
    holds_of(kind, budget, PEERS, least);
}

#[track_caller]
fn holds_of(kind: Kind, budget: MemoryBudget, peers: usize, least: u64) {
    let _alone = Meter::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (most, peak) = runtime.block_on(attacked(kind, budget.clone(), peers));
    println!("{peak} of {most} bytes");
    assert!(peak <= most, "{peak} bytes of a budget of {most}");
    assert!(peak >= least, "only {peak} bytes");
    drop(runtime);
    assert_eq!(budget.used(), 0, "it is given back");
}

/// A transport that allocates nothing from now on.
async fn link() -> (DuplexStream, DuplexStream) {
    let mut bytes = [0; 4 << 10];
    let (mut near, mut far) = duplex(bytes.len());
    near.write_all(&bytes).await.unwrap();
    far.read_exact(&mut bytes).await.unwrap();
    far.write_all(&bytes).await.unwrap();
    near.read_exact(&mut bytes).await.unwrap();
    (near, far)
}

async fn attacked(kind: Kind, budget: MemoryBudget, peers: usize) -> (u64, u64) {
    let config = Config::default().memory_budget(budget.clone());
    let protocol = match kind.version {
        Version::V0 => Protocol::V0,
        _ => Protocol::V1,
    };
    let hostile = config.clone().protocol(protocol);
    let honest = Honest::new(config);
    honest.asks().await;
    let peak = Arc::new(Peak::default());
    let mut ends = Vec::with_capacity(peers);
    for _ in 0..peers {
        let (near, far) = link().await;
        tokio::spawn(attack(kind, far, peak.clone()));
        ends.push(near);
    }
    tokio::time::sleep(Duration::from_millis(1)).await; // the peers have what they need
    peak.start.store(allocated() as i64, Relaxed);
    for near in ends {
        let connection = match kind.role {
            Role::Client => Connection::server(near, hostile.clone()),
            Role::Server => Connection::client(near, hostile.clone()),
        };
        peak.tasks.fetch_add(1, Relaxed);
        tokio::spawn(serve(connection, kind.app, peak.clone()));
    }
    tokio::time::sleep(ATTACK).await;
    peak.begin.notify_waiters();
    for _ in 0..4 {
        tokio::time::sleep(ATTACK / 4).await;
        peak.note();
        honest.asks().await;
    }
    (budget.bytes(), peak.bytes.load(Relaxed))
}

/// A client, and its server in this process.
struct Honest {
    client: Connection,
}

impl Honest {
    fn new(config: Config) -> Honest {
        let (near, far) = duplex(64 << 10);
        let client = Connection::client(near, config.clone());
        let server = Connection::server(far, config);
        tokio::spawn(async move {
            while let Some(channel) = server.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(channel);
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                });
            }
        });
        Honest { client }
    }

    /// Gets an answer of 64 KiB to as much.
    async fn asks(&self) {
        let channel = self.client.open().await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(channel);
        let ask = async move {
            writer.write_all(&[7; 64 << 10]).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut answer = Vec::new();
        let hear = reader.read_to_end(&mut answer);
        let (_, heard) = tokio::join!(ask, hear);
        assert_eq!(heard.unwrap(), 64 << 10);
    }
}

fn budget() -> MemoryBudget {
    MemoryBudget::new(64 * MIB).unwrap()
}

const FILL: Kind = Kind {
    say: fill,
    app: App::Writes,
    ..SERVER
};

const PIECES: Kind = Kind {
    say: pieces,
    ..SERVER
};

const SPARSE: Kind = Kind {
    say: sparse,
    ..SERVER
};

const OPENS: Kind = Kind {
    say: opens,
    ..SERVER
};

const DEBTS: Kind = Kind {
    say: debts,
    reads: true,
    ..SERVER
};

const TAKES_NO_ANSWERS: Kind = Kind {
    say: opens,
    app: App::Writes,
    ..SERVER
};

const TAKES_NO_REQUESTS: Kind = Kind {
    role: Role::Server,
    app: App::Sends,
    ..SERVER
};

const ENDS_NO_CHANNELS: Kind = Kind {
    role: Role::Server,
    app: App::GivesUp,
    reads: true,
    ..SERVER
};

const ALMOST_READ: Kind = Kind {
    say: version0,
    app: App::ReadsAlmostAll,
    version: Version::V0,
    ..SERVER
};

const UNREAD: Kind = Kind {
    say: version0,
    version: Version::V0,
    ..SERVER
};

const TAKES_NO_REFUSALS: Kind = Kind {
    say: refusals_of_version0,
    version: Version::V0,
    ..SERVER
};

/// As many as the default budget has reserves for, but for those of the honest.
const ALL_PEERS: usize = 16_000;

#[test]
fn a_thousand_peers_that_fill_all_channels_both_ways() {
    holds(FILL, budget(), 20 * MIB);
}

#[test]
fn a_thousand_peers_at_servers_of_the_default_configuration() {
    holds(FILL, MemoryBudget::of_process(), 200 * MIB);
}

#[test]
fn a_thousand_peers_that_send_small_pieces() {
    holds(PIECES, budget(), 20 * MIB);
}

#[test]
fn a_thousand_peers_that_send_a_byte_on_each_channel() {
    holds(SPARSE, budget(), 5 * MIB);
}

#[test]
fn a_thousand_peers_that_open_all_channels() {
    holds(OPENS, budget(), 5 * MIB);
}

#[test]
fn a_thousand_peers_whose_channels_end_with_debts() {
    holds(DEBTS, budget(), 20 * MIB);
}

#[test]
fn a_thousand_peers_that_take_no_answers() {
    holds(TAKES_NO_ANSWERS, budget(), 10 * MIB);
}

#[test]
fn a_thousand_peers_that_take_nothing_of_channels_that_were_finished() {
    holds(TAKES_NO_REQUESTS, budget(), 10 * MIB);
}

#[test]
fn a_thousand_peers_that_do_not_end_channels_that_were_given_up() {
    holds(ENDS_NO_CHANNELS, budget(), 5 * MIB);
}

#[test]
fn a_thousand_peers_that_are_read_but_for_a_byte_of_each_channel() {
    holds(ALMOST_READ, budget(), 5 * MIB);
}

#[test]
fn a_thousand_peers_of_version_0_that_nobody_reads() {
    holds(UNREAD, budget(), 20 * MIB);
}

#[test]
fn a_thousand_peers_of_version_0_that_take_no_refusals() {
    holds(TAKES_NO_REFUSALS, budget(), 5 * MIB);
}

/// It takes some minutes.
#[test]
#[ignore = "heavy"]
fn as_many_peers_as_the_default_budget_takes() {
    let kinds = [
        ("fill all channels both ways", FILL),
        ("send small pieces", PIECES),
        ("send a byte on each channel", SPARSE),
        ("open all channels", OPENS),
        ("whose channels end with debts", DEBTS),
        ("of version 0 that take no refusals", TAKES_NO_REFUSALS),
    ];
    for (name, kind) in kinds {
        println!("{name}");
        for peers in [PEERS, ALL_PEERS] {
            holds_of(kind, MemoryBudget::of_process(), peers, 0);
        }
    }
}
