//! What a flood costs the neighbours: the latency of an honest client's requests
//! without and with a hostile peer on another connection. Beside it stands what the same
//! flood costs at a plain TCP port of the same thread, which closes each connection after
//! 48 KiB: no server can be much cheaper.
//!
//! ```sh
//! cargo run --release --example neighbours -- --rounds 3
//! ```
//!
//! The flood comes from another address than the client, and connects again as soon as it is
//! cut off. Each figure is the median of the rounds.
//!
//! With `--crowd 1000`, a thousand peers make the server hold what they can, and stay. Each kind
//! meets a server of its own. They come from one address, or from several with `--networks`. With
//! `--connect-first` all connect before any of them speaks. The latency as they come and as they stay stands beside that
//! without them, and the memory of the server's process.
//!
//! The server is a process of one thread, kept on one processor; the client and
//! the flood share another. So that the flood takes nothing
//! from the client that it would not take from a client on another machine, the
//! client is scheduled ahead of all else, by the program `chrt`, and the server has
//! the highest priority; both take root. (A server that is scheduled ahead of all
//! else is stopped by Linux for 50 ms in each second that it is busy throughout.)
//! Without that the 99th percentile is the scheduler's. Anything else that runs shows
//! in it too: compare the row of plain TCP bytes, and run it on an idle machine.

mod crowd;
mod crowds;
mod flood;
mod honest;
mod server;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::flood::Route;
use self::honest::Latencies;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long each flood lasts, and the quiet before it
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 1)]
    rounds: u8,
    /// Requests of the honest client in a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Schedules the server ahead of all else too, for a machine that does other work. If a
    /// flood keeps it busy throughout, Linux stops it for 50 ms in each second
    #[arg(long)]
    server_ahead: bool,
    /// In place of floods, so many peers that make the server hold what they can, and stay
    #[arg(long, value_name = "COUNT")]
    crowd: Option<usize>,
    /// Addresses that the crowd comes from
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=254))]
    networks: u8,
    /// All of the crowd connect before any of them speaks
    #[arg(long)]
    connect_first: bool,
    /// Only the floods or crowds whose names contain this
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
        from: IpAddr,
        to: SocketAddr,
        #[arg(action = clap::ArgAction::Set)]
        plain: bool,
    },
    #[command(hide = true)]
    Crowd {
        kind: usize,
        count: usize,
        seconds: u64,
        networks: u8,
        #[arg(action = clap::ArgAction::Set)]
        connect_first: bool,
        to: SocketAddr,
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
            from,
            to,
            plain,
        }) => {
            stay_on(1)?;
            let kind = flood::KINDS.get(kind).ok_or("no such flood")?;
            let route = Route { from, to, plain };
            println!("{}", flood::run(kind, route, Duration::from_secs(seconds)));
            Ok(())
        }
        Some(Part::Crowd {
            kind,
            count,
            seconds,
            networks,
            connect_first,
            to,
        }) => {
            stay_on(1)?;
            let kind = crowd::KINDS.get(kind).ok_or("no such crowd")?;
            let peers = crowd::Peers {
                count,
                networks,
                connect_first,
                to,
            };
            crowd::run(kind, &peers, Duration::from_secs(seconds))
        }
        None => match options.crowd {
            Some(count) => crowds::measure(&options, count),
            None => measure(&options),
        },
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
        self.status("VmRSS:")
    }

    /// The most that it was so far.
    fn peak(&self) -> Result<f64, Failure> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = value.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("no such field")?.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// The ports of the server.
struct Ports {
    server: String,
    sink: String,
    closes: String,
}

/// Starts the server.
fn serve(options: &Options) -> Result<(Process, Ports), Failure> {
    let (server, mut says) = Process::start(&["serve"])?;
    let mut addrs = String::new();
    says.read_line(&mut addrs)?;
    let mut addrs = addrs.split_whitespace().map(str::to_owned);
    let mut next = || addrs.next().ok_or("no addresses");
    let ports = Ports {
        server: next()?,
        sink: next()?,
        closes: next()?,
    };
    if options.server_ahead {
        ahead(server.0.id());
    }
    Ok((server, ports))
}

#[tokio::main(flavor = "current_thread")]
async fn measure(options: &Options) -> Result<(), Failure> {
    let (server, ports) = serve(options)?;
    stay_on(1)?; // which those that are started from here on inherit
    ahead(std::process::id());
    let client = honest::Client::new(&ports.server)?;
    client
        .requests(options.rate, Duration::from_secs(1))
        .await?; // warm
    println!(
        "p50 / p99 of {} requests a second, in microseconds; medians of {} rounds of {} s",
        options.rate, options.rounds, options.seconds
    );
    println!(
        "| flood | without | at a plain port | with | with to plain | a new client | server's memory | flood |\n|---|---|---|---|---|---|---|---|"
    );
    for (nth, kind) in flood::KINDS.iter().enumerate() {
        if kind.name.contains(&options.only) {
            let mut rounds = Vec::new();
            for round in 1..=options.rounds {
                rounds.push(measure_once(options, (&client, &ports, &server), nth, round).await?);
            }
            report(kind.name, &rounds);
        }
    }
    Ok(())
}

/// One round of a flood.
struct Round {
    quiet: Latencies,
    plain: Latencies,
    flooded: Latencies,
    newcomers: Latencies,
    memory: f64,
    outcome: String,
}

async fn measure_once(
    options: &Options,
    (client, ports, server): (&honest::Client, &Ports, &Process),
    nth: usize,
    round: u8,
) -> Result<Round, Failure> {
    let kind = &flood::KINDS[nth];
    let time = Duration::from_secs(options.seconds);
    // An address of its own, so that none is held back for the flood before it.
    let from = format!("127.0.{round}.{}", nth + 2);
    let flooded = async |to: &str, plain: bool, longer: u64| {
        let seconds = (options.seconds + longer).to_string();
        let (nth, plain) = (nth.to_string(), plain.to_string());
        let args = ["flood", &nth, &seconds, &from, to, &plain];
        let (mut flood, mut says) = Process::start(&args)?;
        tokio::time::sleep(Duration::from_millis(100)).await; // until it runs
        let lasts = time + Duration::from_secs(longer) - Duration::from_millis(200);
        let (flooded, newcomers) = tokio::try_join!(
            client.requests(options.rate, lasts),
            honest::newcomers(&ports.server, lasts),
        )?;
        let memory = server.memory()?;
        let mut outcome = String::new();
        says.read_line(&mut outcome)?;
        flood.0.wait()?;
        let outcome = outcome.trim().to_owned();
        Ok::<_, Failure>((flooded, newcomers, memory, outcome))
    };
    let quiet = client.requests(options.rate, time).await?;
    let (plain, ..) = flooded(&ports.closes, true, 0).await?;
    let (to, is_plain) = match kind.is_plain() {
        true => (&ports.sink, true),
        false => (&ports.server, false),
    };
    let (flooded, newcomers, memory, outcome) = flooded(to, is_plain, kind.longer).await?;
    Ok(Round {
        quiet,
        plain,
        flooded,
        newcomers,
        memory,
        outcome,
    })
}

fn median<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut all: Vec<f64> = rounds.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The medians of the 50th and the 99th percentile.
fn both<T>(rounds: &[T], of: impl Fn(&T) -> &Latencies) -> String {
    let at = |part| median(rounds, |round| of(round).at(part));
    format!("{:.0} / {:.0}", at(0.5), at(0.99))
}

fn report(name: &str, rounds: &[Round]) {
    let both = |of: fn(&Round) -> &Latencies| both(rounds, of);
    let (quiet, plain) = (both(|round| &round.quiet), both(|round| &round.plain));
    let flooded = both(|round| &round.flooded);
    let newcomers = both(|round| &round.newcomers);
    let ratio = median(rounds, |round| {
        round.flooded.at(0.99) / round.plain.at(0.99)
    });
    let memory = rounds.iter().map(|round| round.memory).fold(0.0, f64::max);
    let outcome = rounds.last().map_or("", |round| &round.outcome);
    println!(
        "| {name} | {quiet} | {plain} | {flooded} | {ratio:.2} | {newcomers} | {memory:.1} MiB | {outcome} |"
    );
}
