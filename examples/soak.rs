//! Channels by the million over real TCP: each carries bytes there and back,
//! hashed on both ways, and some are dropped half way. Connections are replaced
//! as they go. At the end there must be as many tasks and file descriptors as
//! after the first tenth, and about as much memory.
//!
//! ```sh
//! cargo run --release --example soak -- --seconds 300
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use sha2::{Digest, Sha256};
use tcpchan::Channel;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until};
use tower_service::Service;

#[derive(Parser)]
struct Options {
    /// How long it runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Channels at a time.
    #[arg(long, default_value_t = 64)]
    workers: usize,
    /// Bytes of a channel's payload at most; most have far fewer.
    #[arg(long, default_value_t = 256 << 10)]
    most: usize,
    /// Channels after which a connection is replaced.
    #[arg(long, default_value_t = 100_000)]
    per_connection: u32,
}

/// What was done so far.
#[derive(Default)]
struct Done {
    channels: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
}

/// What the process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    tasks: usize,
    descriptors: usize,
    /// MiB of resident memory.
    memory: f64,
}

impl Held {
    /// `/proc` is Linux's.
    fn now() -> Result<Held, Box<dyn Error>> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.split_whitespace().next());
        Ok(Held {
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
            memory: kib.ok_or("no VmRSS")?.parse::<f64>()? / 1024.0,
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri: Uri = format!("http://{}", listener.local_addr()?).parse()?;
    let mut acceptor = Acceptor::new(listener);
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            tokio::spawn(echo(channel));
        }
    });

    let pool = PoolConfig::default()
        .connections(2..=2)? // a number that load does not change
        .max_opened(options.per_connection)?;
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    let connector = Multiplex::new(http).with_pool(pool);
    let done = Arc::new(Done::default());
    let started = Instant::now();
    let tenth = Duration::from_secs(options.seconds) / 10;

    work(&options, &connector, &uri, &done, started + tenth).await?;
    let start = rest(&connector).await?;
    report("after a tenth", started, &done, start);
    for part in 2..=10 {
        work(&options, &connector, &uri, &done, started + tenth * part).await?;
        report("so far", started, &done, Held::now()?);
    }
    let end = rest(&connector).await?;
    report("at the end", started, &done, end);

    let same = (start.tasks, start.descriptors) == (end.tasks, end.descriptors);
    let grown = end.memory > start.memory * 1.25 + 16.0;
    match same && !grown {
        true => Ok(()),
        false => Err("it holds more than at the start".into()),
    }
}

/// Runs the workers until then.
async fn work(
    options: &Options,
    connector: &Multiplex<HttpConnector>,
    uri: &Uri,
    done: &Arc<Done>,
    until: Instant,
) -> Result<(), Box<dyn Error>> {
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..options.workers {
        let (connector, uri, done) = (connector.clone(), uri.clone(), done.clone());
        let most = options.most;
        workers.spawn(async move {
            while Instant::now() < until {
                one(connector.clone(), uri.clone(), most, &done).await?;
            }
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended?.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Waits until no channel is left and the connections to be replaced are gone.
async fn rest(connector: &Multiplex<HttpConnector>) -> Result<Held, Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        sleep(Duration::from_millis(500)).await;
        let targets = connector.stats();
        let channels = |target: &tcpchan::client::TargetStats| -> usize {
            target.connections.iter().map(|stats| stats.channels).sum()
        };
        if targets.iter().all(|target| channels(target) == 0) {
            sleep_until(Instant::now() + Duration::from_secs(2)).await;
            return Held::now();
        }
        if Instant::now() > deadline {
            return Err("channels are left open".into());
        }
    }
}

/// One channel: what comes back must be what was sent; one in a hundred is
/// dropped on the way.
async fn one(
    mut connector: Multiplex<HttpConnector>,
    uri: Uri,
    most: usize,
    done: &Done,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let channel = connector.call(uri).await?;
    done.channels.fetch_add(1, Relaxed);
    // Few are large, as in life.
    let len = (most as f64 * fastrand::f64().powi(8)) as usize;
    let mut sent = vec![0; len];
    fastrand::fill(&mut sent);
    let (mut reader, mut writer) = channel.into_split();
    if fastrand::u8(..100) == 0 {
        writer.write_all(&sent[..len / 2]).await?;
        done.dropped.fetch_add(1, Relaxed);
        return Ok(());
    }
    let write = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let read = async {
        let (mut hash, mut buf) = (Sha256::new(), vec![0; 16 << 10]);
        loop {
            match reader.read(&mut buf).await? {
                0 => return Ok::<_, std::io::Error>(hash.finalize()),
                n => hash.update(&buf[..n]),
            }
        }
    };
    let ((), hash) = tokio::try_join!(write, read)?;
    if hash != Sha256::digest(&sent) {
        return Err("other bytes came back than were sent".into());
    }
    done.bytes.fetch_add(2 * len as u64, Relaxed);
    Ok(())
}

async fn echo(mut channel: Channel) -> std::io::Result<()> {
    let mut buf = vec![0; 16 << 10];
    loop {
        match channel.read(&mut buf).await? {
            0 => return channel.shutdown().await,
            n => channel.write_all(&buf[..n]).await?,
        }
    }
}

fn report(when: &str, started: Instant, done: &Done, held: Held) {
    let Held {
        tasks,
        descriptors,
        memory,
    } = held;
    println!(
        "{when:>13} ({:>4} s): {} channels, {} dropped, {:.1} GiB; {tasks} tasks, {descriptors} descriptors, {memory:.1} MiB",
        started.elapsed().as_secs(),
        done.channels.load(Relaxed),
        done.dropped.load(Relaxed),
        done.bytes.load(Relaxed) as f64 / f64::from(1 << 30),
    );
}
