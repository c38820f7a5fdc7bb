//! What a flood costs the neighbours: the latency of an honest client's requests
//! without and with a hostile peer on another connection.
//!
//! ```sh
//! cargo run --release --example neighbours
//! ```
//!
//! The server is a process of one thread, kept on one processor; the client and
//! the flood, at the lowest priority, share another. So that the flood takes nothing
//! from the client that it would not take from a client on another machine, the
//! client is scheduled ahead of all else, by the program `chrt`, and the server has
//! the highest priority; both take root. (A server that is scheduled ahead of all
//! else is stopped by Linux for 50 ms in each second that it is busy throughout.)
//! Without that the 99th percentile is the scheduler's. Anything else that runs shows
//! in it too: compare the row of plain TCP bytes, and run it on an idle machine.

mod flood;
mod honest;
mod server;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::honest::Latencies;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long each flood lasts, and the quiet before it
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Requests of the honest client in a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Only the floods whose names contain this
    #[arg(long, default_value = "")]
    only: String,
}

/// The other processes.
#[derive(Subcommand)]
enum Part {
    #[command(hide = true)]
    Serve,
    #[command(hide = true)]
    Flood {
        kind: usize,
        seconds: u64,
        to: SocketAddr,
        sink: SocketAddr,
    },
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    match options.part {
        Some(Part::Serve) => {
            stay_on(0)?;
            let _ = rustix::process::nice(-20); // which takes root
            server::run()
        }
        Some(Part::Flood {
            kind,
            seconds,
            to,
            sink,
        }) => {
            stay_on(1)?;
            rustix::process::nice(19)?;
            let kind = flood::KINDS.get(kind).ok_or("no such flood")?;
            println!(
                "{}",
                flood::run(kind, [to, sink], Duration::from_secs(seconds))
            );
            Ok(())
        }
        None => measure(&options),
    }
}

/// Keeps the process on one of its processors, if it has so many.
fn stay_on(nth: usize) -> Result<(), Failure> {
    let all = sched_getaffinity(None)?;
    let mut mine = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    if let Some(cpu) = mine.nth(nth) {
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one)?;
    }
    Ok(())
}

/// Schedules a process ahead of all else, but not those that it starts.
fn ahead(process: u32) {
    let pid = process.to_string();
    let args = [
        "--fifo",
        "--reset-on-fork",
        "--all-tasks",
        "--pid",
        "10",
        &pid,
    ];
    let done = Command::new("chrt").args(args).output();
    if !done.is_ok_and(|output| output.status.success()) {
        eprintln!("process {pid} is not scheduled ahead of the flood: that takes chrt, and root");
    }
}

/// A child that is not left behind.
struct Process(Child);

impl Process {
    fn start(args: &[&str]) -> Result<(Process, BufReader<ChildStdout>), Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let says = child.stdout.take().ok_or("no output")?;
        Ok((Process(child), BufReader::new(says)))
    }

    /// MiB of resident memory; `/proc` is Linux's.
    fn memory(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("no VmRSS")?.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure(options: &Options) -> Result<(), Failure> {
    let (server, mut says) = Process::start(&["serve"])?;
    stay_on(1)?; // which those that are started from here on inherit
    let mut addrs = String::new();
    says.read_line(&mut addrs)?;
    let (to, sink) = addrs.trim().split_once(' ').ok_or("no addresses")?;
    ahead(std::process::id());
    let client = honest::Client::new(to)?;
    let time = Duration::from_secs(options.seconds);
    client
        .requests(options.rate, Duration::from_secs(1))
        .await?; // warm
    println!(
        "p50 and p99 of {} requests a second, in microseconds",
        options.rate
    );
    println!(
        "| flood | quiet | flooded | p99 ratio | server's memory | flood |\n|---|---|---|---|---|---|"
    );
    for (nth, kind) in flood::KINDS.iter().enumerate() {
        if !kind.name.contains(&options.only) {
            continue;
        }
        let quiet = client.requests(options.rate, time).await?;
        let seconds = (options.seconds + kind.longer).to_string();
        let args = ["flood", &nth.to_string(), &seconds, to, sink];
        let (mut flood, mut says) = Process::start(&args)?;
        tokio::time::sleep(Duration::from_millis(100)).await; // until it runs
        let lasts = time + Duration::from_secs(kind.longer) - Duration::from_millis(200);
        let flooded = client.requests(options.rate, lasts).await?;
        let memory = server.memory()?;
        let mut outcome = String::new();
        says.read_line(&mut outcome)?;
        flood.0.wait()?;
        report(kind.name, quiet, flooded, memory, outcome.trim());
    }
    Ok(())
}

fn report(name: &str, quiet: Latencies, flooded: Latencies, memory: f64, outcome: &str) {
    let ratio = flooded.at(0.99) / quiet.at(0.99);
    println!("| {name} | {quiet} | {flooded} | {ratio:.2} | {memory:.1} MiB | {outcome} |");
}
