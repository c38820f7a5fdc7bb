//! What a chain of two proxies costs: `tcpchan relay` and `serve`, two HAProxy, two stunnel. Load
//! and service are processes of their own, and all is on this host.

mod service;
mod usage;
mod way;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::time::timeout;

use crate::service::Service;
use crate::way::{Files, Way};
use crate::work::{Figures, Work};

/// How long it may take to open the idle streams.
const IDLE: Duration = Duration::from_secs(40);

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and print a table as Markdown
    Run(Run),
    /// The service; `run` starts it
    Service,
}

#[derive(clap::Args)]
struct Run {
    /// The command tcpchan; repeat it as NAME=FILE for several builds
    #[arg(long, required = true, value_parser = named)]
    tcpchan: Vec<(String, PathBuf)>,
    /// How long each work takes in each round
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds over the ways; the table has medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Idle streams whose memory is measured, in one round
    #[arg(long, default_value_t = 9000)]
    streams: usize,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').unwrap_or(("tcpchan", text));
    Ok((name.to_owned(), path.into()))
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Service => service::run().await,
        Command::Run(run) => measure(run).await,
    }
}

async fn measure(run: Run) -> Result<()> {
    let files = Files::new()?;
    let service = Service::start().await?;
    let ways = Way::all(&run.tcpchan);
    let mut figures = Figures::default();
    let seconds = Duration::from_secs_f64(run.seconds);
    for round in 0..run.rounds {
        for way in &ways {
            let chain = way.start(service.addr, &files).await?;
            for work in Work::TIMED {
                eprintln!("round {round}: {}: {work:?}", way.name);
                figures.add(way, work, work.run(&chain, seconds).await?);
            }
        }
    }
    for way in &ways {
        eprintln!("{} streams: {}", run.streams, way.name);
        let chain = way.start(service.addr, &files).await?;
        match timeout(IDLE, work::idle(&chain, run.streams)).await {
            Ok(Ok(idle)) => figures.add(way, Work::Idle, idle),
            Ok(Err(error)) => eprintln!("{}: {error:#}", way.name),
            Err(_) => eprintln!("{}: not within {IDLE:?}", way.name),
        }
    }
    println!("{}", figures.table(&ways));
    Ok(())
}
