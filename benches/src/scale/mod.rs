//! What a server process costs that has many connections or many streams: memory, processor
//! time of an echo and of rest, and how long it takes to drain.

mod client;
mod plan;
mod server;

use clap::{Parser, Subcommand, ValueEnum};

use self::client::Measured;
use self::plan::{Size, Times, Way, size};
use crate::child::allow_many_files;
use crate::machine;

/// A server process with many connections and streams.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[arg(long, value_delimiter = ',', default_values_t = Way::value_variants().iter().copied())]
    ways: Vec<Way>,
    /// Connections, and streams on each
    #[arg(long, value_delimiter = ',', value_parser = size, default_values = SIZES)]
    sizes: Vec<Size>,
    #[command(flatten)]
    times: Times,
}

#[derive(Subcommand)]
enum Part {
    /// The server's process.
    #[command(hide = true)]
    Serve { way: Way },
}

const SIZES: &[&str] = &["1x10", "1x1000", "1x100000", "100x10", "10000x10"];

pub fn main() -> anyhow::Result<()> {
    allow_many_files();
    let cli = Cli::parse();
    if let Some(Part::Serve { way }) = cli.part {
        return server::run(way);
    }
    println!("{}\n", machine::describe());
    println!(
        "| connections x streams | way | bytes a connection | bytes a stream | CPU us an echo, few busy | all busy | CPU s of an idle hour | drain, s | CPU s of it |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for size in &cli.sizes {
        for way in &cli.ways {
            let Measured {
                connection,
                stream,
                few,
                all,
                hour,
                drain,
                drain_cpu,
            } = client::measure(*way, *size, &cli.times)?;
            println!(
                "| {} x {} | {way} | {} | {} | {few:.2} | {all:.2} | {} | {:.2} | {:.2} |",
                size.connections,
                size.streams,
                rounded(connection, 0),
                rounded(stream, 0),
                rounded(hour, 2),
                drain.as_secs_f64(),
                drain_cpu.as_secs_f64(),
            );
        }
    }
    Ok(())
}

fn rounded(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.digits$}"))
}
