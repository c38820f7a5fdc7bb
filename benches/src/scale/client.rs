//! The connections to a server that is measured, and their traffic.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::plan::{HTTP2_WINDOW, Size, Times, Way};
use crate::transport::Transport::Plain;
use crate::way::{self, ByteStream, Way as Carrier};
use crate::work::echo;

/// How long a server takes until it rests: the last pings leave within a second.
const REST: Duration = Duration::from_secs(3);

/// Echoes of so many streams at most are few: one of each connection, or of the only one.
const FEW: usize = 64;
const FEW_OF_ONE: usize = 10;

/// What was measured of one way at one size: of the server's process alone.
pub struct Measured {
    /// Bytes of a connection without streams, and of each stream. None of so few that
    /// pages that are used once count for more.
    pub connection: Option<f64>,
    pub stream: Option<f64>,
    /// Microseconds of processor time for each echo: few streams busy, and all.
    pub few: f64,
    pub all: f64,
    /// Seconds of processor time of an hour of rest.
    pub hour: Option<f64>,
    pub drain: Duration,
    pub drain_cpu: Duration,
}

pub fn measure(way: Way, size: Size, times: &Times) -> anyhow::Result<Measured> {
    let server = Server::start(way)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match way {
            Way::Tcpchan => drive::<way::TcpChan<1>>(server, size, times).await,
            Way::HyperHttp2 | Way::HyperHttp2Pings => {
                drive::<way::H2<HTTP2_WINDOW>>(server, size, times).await
            }
        }
    })
}

/// The process that is measured.
struct Server {
    process: Child,
    tell: ChildStdin,
    says: BufReader<ChildStdout>,
    addr: SocketAddr,
}

/// What it has used.
#[derive(Clone, Copy)]
struct Used {
    cpu: Duration,
    resident: f64,
}

impl Server {
    fn start(way: Way) -> anyhow::Result<Server> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", &way.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let tell = process.stdin.take().context("no input")?;
        let mut says = BufReader::new(process.stdout.take().context("no output")?);
        let mut addr = String::new();
        says.read_line(&mut addr)?;
        let addr = addr.trim().parse()?;
        Ok(Server {
            process,
            tell,
            says,
            addr,
        })
    }

    fn used(&mut self) -> anyhow::Result<Used> {
        self.tell.write_all(b"report\n")?;
        self.hear()
    }

    fn hear(&mut self) -> anyhow::Result<Used> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        let (cpu, resident) = line.trim().split_once(' ').context("the server ended")?;
        Ok(Used {
            cpu: Duration::from_nanos(cpu.parse()?),
            resident: resident.parse()?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

async fn drive<W: Carrier>(
    mut server: Server,
    size: Size,
    times: &Times,
) -> anyhow::Result<Measured> {
    let start = server.used()?;
    let mut connections = Vec::with_capacity(size.connections);
    for _ in 0..size.connections {
        connections.push(W::connect(server.addr, Plain).await?);
    }
    sleep(REST).await;
    let connected = server.used()?;
    let mut streams = Vec::with_capacity(size.connections * size.streams);
    for connection in &connections {
        for _ in 0..size.streams {
            streams.push(Some(echo::opened::<W>(connection).await?));
        }
    }
    sleep(REST).await;
    let opened = server.used()?;

    let few: Vec<usize> = match size.connections {
        1 => (0..FEW_OF_ONE.min(size.streams)).collect(),
        many => (0..FEW.min(many)).map(|nth| nth * size.streams).collect(),
    };
    let all = (0..streams.len()).collect();
    let few = echoes(&mut server, &mut streams, few, times.busy).await?;
    let all = echoes(&mut server, &mut streams, all, times.busy).await?;

    sleep(REST).await;
    let rests = server.used()?;
    sleep(Duration::from_secs_f64(times.idle)).await;
    let rested = server.used()?;

    let drains = Instant::now();
    server.tell.write_all(b"drain\n")?;
    for stream in streams.iter_mut().flatten() {
        stream.shutdown().await?;
    }
    for mut stream in streams.into_iter().flatten() {
        stream.read_to_end(&mut Vec::new()).await?;
    }
    let drained = tokio::task::spawn_blocking(move || server.hear()).await??;
    drop(connections);
    Ok(Measured {
        connection: of_each(start, connected, size.connections),
        stream: of_each(connected, opened, size.connections * size.streams),
        few,
        all,
        hour: (times.idle > 0.0)
            .then(|| (rested.cpu - rests.cpu).as_secs_f64() * 3600.0 / times.idle),
        drain: drains.elapsed(),
        drain_cpu: drained.cpu - rested.cpu,
    })
}

/// Bytes that each of so many takes, if there are enough.
fn of_each(before: Used, after: Used, count: usize) -> Option<f64> {
    (count >= 1000).then(|| (after.resident - before.resident) / count as f64)
}

/// Microseconds of the server's processor time for each echo, with so many streams busy.
async fn echoes<S: ByteStream>(
    server: &mut Server,
    streams: &mut [Option<S>],
    busy: Vec<usize>,
    seconds: f64,
) -> anyhow::Result<f64> {
    let (count, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut tasks = JoinSet::new();
    for nth in busy {
        let mut stream = streams[nth].take().context("it is there")?;
        let (count, over) = (count.clone(), over.clone());
        tasks.spawn(async move {
            while !over.load(Relaxed) {
                echo::once(&mut stream).await?;
                count.fetch_add(1, Relaxed);
            }
            anyhow::Ok((nth, stream))
        });
    }
    let time = Duration::from_secs_f64(seconds);
    sleep(time / 3).await; // warm
    let (start, before) = (server.used()?, count.load(Relaxed));
    sleep(time).await;
    let (end, after) = (server.used()?, count.load(Relaxed));
    over.store(true, Relaxed);
    while let Some(ended) = tasks.join_next().await {
        let (nth, stream) = ended??;
        streams[nth] = Some(stream);
    }
    Ok((end.cpu - start.cpu).as_secs_f64() * 1e6 / (after - before) as f64)
}
