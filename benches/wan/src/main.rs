//! tcpchan and its peers over an emulated long link. See README.md.

mod client;
mod conditions;
mod kernel_memory;
mod link;
mod netns;
mod payload;
mod quic;
mod report;
mod run;
mod scenario;
mod server;
mod stamps;
mod tls;
mod way;

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::conditions::{Conditions, Congestion};
use self::report::Report;
use self::scenario::{SCENARIOS, Scenario, Shape};
use self::way::Way;

/// Measures tcpchan and its peers over an emulated long link
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    process: Option<Process>,
    #[command(flatten)]
    bench: Bench,
}

/// The processes that the bench starts in its namespaces
#[derive(Subcommand)]
enum Process {
    #[command(hide = true)]
    Server(server::Options),
    #[command(hide = true)]
    Client(client::Options),
}

#[derive(clap::Args)]
struct Bench {
    /// Scenarios to run; all, if none is named
    #[arg(value_parser = scenario::find)]
    scenarios: Vec<&'static Scenario>,
    /// Ways to run, such as tcpchan,h1-pool,h2+tls
    #[arg(long, value_delimiter = ',')]
    ways: Vec<Way>,
    /// Congestion control; both, if none is named
    #[arg(long, value_enum)]
    cc: Option<Congestion>,
    /// The share of packets lost in each direction, instead of the scenario's
    #[arg(long)]
    loss: Option<f64>,
    /// Rounds of each scenario, instead of its own
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Round trip, in milliseconds, instead of the scenario's
    #[arg(long)]
    rtt: Option<u64>,
    /// Rate in each direction, in Mbit/s; 0 is no limit
    #[arg(long)]
    rate: Option<u64>,
    /// Queue before the rate limiter, in milliseconds
    #[arg(long)]
    queue: Option<u64>,
    /// How long each stage lasts of a scenario that has some, in seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    stage: Option<u64>,
    /// Of the loss and the jitter
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure nothing; take the JSON of earlier runs
    #[arg(long)]
    from: Vec<PathBuf>,
    /// Write all figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the table, that is printed, to a file too
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write a plot, as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Name the scenarios and the ways, and run nothing
    #[arg(long)]
    list: bool,
}

/// Between measurements of work that is idle, longer than each is busy.
const APART: Duration = Duration::from_secs(3);

/// Of the file of all tables.
const HEADING: &str = "# All figures of the long links page\n\n\
    Written by `benches/wan`; its README says what the ways are.\n\n";

fn main() -> Result<()> {
    let options = Options::parse();
    match options.process {
        Some(Process::Server(options)) => process(server::run(options)),
        Some(Process::Client(options)) => process(client::run(options)),
        None if options.bench.list => list(),
        None if !options.bench.from.is_empty() => options.bench.render(),
        None => bench(&options.bench),
    }
}

/// Runs one of the bench's processes, with as many sockets as it may have.
fn process(work: impl Future<Output = Result<()>>) -> Result<()> {
    run::end_with_standard_input();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    tokio::runtime::Runtime::new()?.block_on(work)
}

fn list() -> Result<()> {
    for scenario in SCENARIOS {
        println!("{:<17} {}", scenario.name, scenario.about);
    }
    let ways: Vec<_> = Way::all().map(|way| way.to_string()).collect();
    println!("ways: {}", ways.join(" "));
    Ok(())
}

fn bench(options: &Bench) -> Result<()> {
    netns::become_root()?;
    let mut report = Report::default();
    let all: Vec<_> = SCENARIOS.iter().collect();
    let scenarios = match options.scenarios.as_slice() {
        [] => &all,
        some => some,
    };
    for scenario in scenarios {
        for conditions in options.conditions(scenario) {
            options.measure(scenario, &conditions, &mut report)?;
            options.write_json(&report)?; // what there is, should the rest fail
        }
    }
    options.write(&report)
}

impl Bench {
    /// Measures one way after the other; where the work is idle most of the
    /// time, each begins a while after the one before.
    fn measure(
        &self,
        scenario: &'static Scenario,
        conditions: &Conditions,
        report: &mut Report,
    ) -> Result<()> {
        let rounds = self.rounds.unwrap_or(scenario.rounds);
        let ways = scenario.ways(&self.ways);
        let ways = ways.filter(|way| way.kind.differs_under(conditions.congestion));
        let stage = self.stage.unwrap_or(scenario.stage);
        let measure = |way| run::measure(scenario, way, conditions.clone(), rounds, stage);
        if !scenario.is_idle() {
            return ways.map(measure).try_for_each(|measured| {
                report.add(measured?);
                Ok(())
            });
        }
        thread::scope(|scope| {
            let begin = |(place, way)| {
                scope.spawn(move || {
                    thread::sleep(APART * place as u32);
                    measure(way)
                })
            };
            let threads: Vec<_> = ways.enumerate().map(begin).collect();
            for thread in threads {
                let measured = thread.join();
                report.add(measured.unwrap_or_else(|_| bail!("a measurement panicked"))?);
            }
            Ok(())
        })
    }

    fn conditions(&self, scenario: &Scenario) -> Vec<Conditions> {
        let losses = match &self.loss {
            Some(loss) => std::slice::from_ref(loss),
            None => scenario.losses,
        };
        let mut all = Vec::new();
        for congestion in Congestion::value_variants() {
            if self.cc.is_some_and(|only| only != *congestion) {
                continue;
            }
            for shape in self.shapes(scenario) {
                all.extend(losses.iter().map(|loss| Conditions {
                    round_trip: Duration::from_millis(shape.rtt_ms),
                    jitter: Duration::from_millis(scenario.jitter_ms),
                    rate: shape.rate * 1_000_000,
                    queue: Duration::from_millis(shape.queue_ms),
                    loss: *loss,
                    congestion: *congestion,
                    seed: self.seed,
                }));
            }
        }
        all
    }

    /// The scenario's links as they were asked for, each once.
    fn shapes(&self, scenario: &Scenario) -> Vec<Shape> {
        let asked = scenario.shapes.iter().map(|shape| Shape {
            rate: self.rate.unwrap_or(shape.rate),
            rtt_ms: self.rtt.unwrap_or(shape.rtt_ms),
            queue_ms: self.queue.unwrap_or(shape.queue_ms),
        });
        let mut shapes: Vec<Shape> = Vec::new();
        for shape in asked {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        shapes
    }

    fn render(&self) -> Result<()> {
        let mut report = Report::default();
        for path in &self.from {
            report.read(path)?;
        }
        self.write(&report)
    }

    fn write(&self, report: &Report) -> Result<()> {
        let markdown = report.markdown();
        println!("{markdown}");
        if let Some(path) = &self.markdown {
            fs::write(path, format!("{HEADING}{markdown}"))?;
        }
        if let Some(path) = &self.plot {
            report.plot(path)?;
        }
        self.write_json(report)
    }

    fn write_json(&self, report: &Report) -> Result<()> {
        if let Some(path) = &self.json {
            fs::write(path, serde_json::to_string_pretty(&report.rows())?)?;
        }
        Ok(())
    }
}
