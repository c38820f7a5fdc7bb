use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::row::{self, ROWS, Row, Way};
use crate::run::Plan;
use crate::summary::Results;
use crate::{build, child, machine, measure, plot, report};

/// tcpchan beside plain TCP and other multiplexers.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every row of every way; writes `results/table.md` and `results/plot.svg`, or those of
    /// the default build, which README.md names.
    All(Options),
    /// Some rows, for daily work; writes nothing.
    Row {
        #[arg(value_parser = row::find, required = true)]
        rows: Vec<&'static Row>,
        #[command(flatten)]
        options: Options,
    },
    /// The table and the plot again, from the last run of `all`.
    Report,
    /// One row of one way, in this process; prints JSON.
    #[command(hide = true)]
    Measure {
        #[arg(value_parser = row::find)]
        row: &'static Row,
        way: Way,
        #[arg(long)]
        seconds: f64,
    },
}

#[derive(Args)]
struct Options {
    /// Without plain TCP there are no ratios.
    #[arg(long, value_delimiter = ',', default_values_t = Way::value_variants().iter().copied())]
    ways: Vec<Way>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each row of each way is measured, in each round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// How often to repeat a measurement that other programs have disturbed.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Count system calls (by `perf stat`) and allocations too, in runs of their own.
    #[arg(long)]
    count: bool,
}

/// A file of the results of this build, in a directory that may not be there yet.
fn result(name: &str, kind: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    std::fs::create_dir_all(&path)?;
    Ok(path.join(format!("{name}{}.{kind}", build::suffix()?)))
}

fn run(rows: Vec<&'static Row>, options: Options) -> anyhow::Result<Results> {
    let Options {
        ways,
        rounds,
        seconds,
        repeats,
        count,
    } = options;
    let plan = Plan {
        rows,
        ways,
        rounds,
        seconds,
        repeats,
    };
    Ok(Results {
        machine: format!("{} {}", machine::describe(), build::describe()?),
        seconds,
        entries: plan.measure()?,
        counts: if count { plan.count()? } else { Vec::new() },
    })
}

fn write(results_of: &Results) -> anyhow::Result<()> {
    let table = report::tables(results_of);
    std::fs::write(result("table", "md")?, &table)?;
    println!("{table}");
    plot::draw(results_of, &result("plot", "svg")?)
}

/// The program; `allocations` counts them, where the allocator can.
pub fn main(allocations: Option<fn() -> u64>) -> anyhow::Result<()> {
    if let Some(counter) = allocations {
        measure::count_allocations_with(counter);
    }
    match Cli::parse().command {
        Command::All(options) => {
            let raw_file = result("measurements", "json")?;
            let count = true;
            let all = run(ROWS.iter().collect(), Options { count, ..options })?;
            let raw = serde_json::to_string(&all)?;
            std::fs::write(raw_file, raw)?;
            write(&all)
        }
        Command::Row { rows, options } => {
            println!("{}", report::tables(&run(rows, options)?));
            Ok(())
        }
        Command::Report => {
            let raw = std::fs::read_to_string(result("measurements", "json")?)?;
            write(&serde_json::from_str(&raw)?)
        }
        Command::Measure { row, way, seconds } => {
            child::run(row, way, Duration::from_secs_f64(seconds))
        }
    }
}
