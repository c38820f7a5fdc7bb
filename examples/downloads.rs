//! Honest peers are not cut off: many endless downloads at once over real TCP,
//! beside channels that rest, with readers of small and of large pieces, and with
//! a budget for receiving and without. No limit that is there for hostile peers
//! may end such a connection.
//!
//! ```sh
//! cargo run --release --example downloads
//! ```

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use tcpchan::wire::{Control, Frame, Version};
use tcpchan::{Channel, Config, Connection, SocketProfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Options {
    /// How long each round lasts.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds of each row, each on a connection of its own.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Only the rows whose names contain this; given twice, both.
    #[arg(long)]
    only: Vec<String>,
}

/// What a row of the table is about.
struct Row {
    downloads: usize,
    /// Bytes that a reader takes at once.
    piece: usize,
    /// Channels that rest.
    idle: usize,
    /// `None`: the default.
    budget: Option<u64>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (downloads, kib, idle) = (self.downloads, self.piece >> 10, self.idle);
        write!(f, "{downloads} by {kib} KiB beside {idle}, ")?;
        match self.budget {
            None => write!(f, "default budget"),
            Some(bytes) => write!(f, "budget {bytes}"),
        }
    }
}

/// What came of a round.
struct Outcome {
    bytes: u64,
    time: Duration,
    /// Bytes that the client sent meanwhile.
    sent: u64,
    failure: Option<String>,
}

/// Bytes that a server writes at once.
const WRITTEN: usize = 64 << 10;
/// What a channel carries before it rests.
const SMALL: usize = 200;
/// The first byte of a channel that is to rest; others say where a download begins.
const REST: u8 = u8::MAX;

/// A prime: pieces of powers of two begin everywhere in what repeats after it.
const PERIOD: usize = 251;

/// What a channel carries from a place on; long enough for every piece.
fn bytes(place: u64) -> &'static [u8] {
    static ALL: [u8; WRITTEN + PERIOD] = {
        let mut all = [0; WRITTEN + PERIOD];
        let mut nth = 0;
        while nth < all.len() {
            all[nth] = (nth % PERIOD) as u8;
            nth += 1;
        }
        all
    };
    &ALL[(place % PERIOD as u64) as usize..]
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let mut failed = 0;
    println!(
        "| downloads | MB/s | WINDOWs a MiB, at most | rounds that failed |\n|---|---|---|---|"
    );
    for row in rows() {
        let name = row.to_string();
        if !options.only.iter().all(|part| name.contains(part)) {
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            rounds.push(round(&row, Duration::from_secs(options.seconds)).await?);
        }
        report(&name, &rounds);
        failed += rounds
            .iter()
            .filter(|round| round.failure.is_some())
            .count();
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} rounds failed").into()),
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for downloads in [32, 64] {
        for piece in [1 << 10, 64 << 10] {
            for idle in [0, 200, 1000] {
                for budget in [None, Some(0)] {
                    rows.push(Row {
                        downloads,
                        piece,
                        idle,
                        budget,
                    });
                }
            }
        }
    }
    rows
}

/// The downloads of a row on a new connection.
async fn round(row: &Row, time: Duration) -> Result<Outcome, Failure> {
    let channels = (row.downloads + row.idle).max(1024) as u32;
    let mut config = Config::default().max_channels(channels)?;
    if let Some(bytes) = row.budget {
        config = config.receive_budget(bytes);
    }
    let [client, server] = connect(config).await?;
    tokio::spawn(serve(server.clone()));
    let mut resting = Vec::new();
    for _ in 0..row.idle {
        resting.push(rest(&client).await?);
    }

    let (start, sent) = (Instant::now(), client.stats().bytes_sent);
    let read = Arc::new(AtomicU64::new(0));
    let mut downloads = JoinSet::new();
    for nth in 0..row.downloads {
        let channel = client.open().await?;
        downloads.spawn(download(channel, nth as u8, row.piece, read.clone()));
    }
    let failed = tokio::select! {
        Some(ended) = downloads.join_next() => Some(ended?),
        () = sleep(time) => None,
    };
    let (bytes, time) = (read.load(Relaxed), start.elapsed());
    let sent = client.stats().bytes_sent - sent;
    let ends = [("client", client.error()), ("server", server.error())];
    let mut why: Vec<_> = ends
        .into_iter()
        .filter_map(|(end, error)| Some(format!("{end}: {}", error?)))
        .collect();
    if why.is_empty() {
        why.extend(failed.map(|error| format!("download: {error}")));
    }
    downloads.shutdown().await;
    client.close("the round is over");
    server.closed().await;
    Ok(Outcome {
        bytes,
        time,
        sent,
        failure: (!why.is_empty()).then(|| why.join("; ")),
    })
}

/// A client's and a server's end, with sockets as the crate sets them up.
async fn connect(config: Config) -> Result<[Connection; 2], Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    let (far, _) = listener.accept().await?;
    for stream in [&near, &far] {
        SocketProfile::default().apply(stream)?;
    }
    Ok([
        Connection::client(near, config.clone()),
        Connection::server(far, config),
    ])
}

/// A channel that has carried something and stays open.
async fn rest(client: &Connection) -> Result<Channel, Failure> {
    let mut channel = client.open().await?;
    channel.write_all(&[REST]).await?;
    let mut small = [0; SMALL];
    channel.read_exact(&mut small).await?;
    match bytes(0).starts_with(&small) {
        true => Ok(channel),
        false => Err("wrong bytes".into()),
    }
}

/// Reads without end; why it ended all the same.
async fn download(mut channel: Channel, first: u8, piece: usize, read: Arc<AtomicU64>) -> Failure {
    if let Err(error) = channel.write_all(&[first]).await {
        return error.into();
    }
    let (mut buf, mut place) = (vec![0; piece], u64::from(first));
    loop {
        match channel.read(&mut buf).await {
            Ok(0) => return "a download ended".into(),
            Ok(n) if !bytes(place).starts_with(&buf[..n]) => return "wrong bytes".into(),
            Ok(n) => {
                place += n as u64;
                read.fetch_add(n as u64, Relaxed);
            }
            Err(error) => return error.into(),
        }
    }
}

async fn serve(server: Connection) {
    while let Some(channel) = server.accept().await {
        // Its client sees it if it fails.
        tokio::spawn(answer(channel));
    }
}

async fn answer(mut channel: Channel) -> std::io::Result<()> {
    let first = channel.read_u8().await?;
    if first == REST {
        channel.write_all(&bytes(0)[..SMALL]).await?;
        channel.read_u8().await?; // until its client drops it
        return Ok(());
    }
    let mut place = u64::from(first);
    loop {
        channel.write_all(&bytes(place)[..WRITTEN]).await?;
        place += WRITTEN as u64;
    }
}

fn report(name: &str, rounds: &[Outcome]) {
    let mut window = Vec::new();
    let control = Control::Window {
        channel: 1,
        limit: 0,
        loan: 0,
    };
    Frame::Control(control).encode(Version::V1, &mut window);
    let bytes = rounds.iter().map(|round| round.bytes).sum::<u64>() as f64;
    let time: Duration = rounds.iter().map(|round| round.time).sum();
    let sent: u64 = rounds.iter().map(|round| round.sent).sum();
    let rate = bytes / time.as_secs_f64() / 1e6;
    // A client that only downloads sends little else.
    let windows = sent as f64 / window.len() as f64;
    let a_mib = windows / (bytes / f64::from(1 << 20));
    let mut failures = rounds.iter().filter_map(|round| round.failure.as_ref());
    let failed = match failures.next() {
        None => "none".to_owned(),
        Some(first) => format!("{}: {first}", 1 + failures.count()),
    };
    println!("| {name} | {rate:.0} | {a_mib:.2} | {failed} |");
}
