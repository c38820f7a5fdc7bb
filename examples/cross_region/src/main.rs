//! The main job: the same calls across a long link in three ways.
//!
//! `cargo run --release --manifest-path examples/cross_region/Cargo.toml -- --help`

mod body;
mod caller;
mod calls;
mod probe;
mod progress;
mod report;
mod server;
#[path = "../../support/slow_link.rs"]
mod slow_link;

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpListener;

use self::calls::Load;
use self::probe::Remote;
use self::report::{Path, Report};
use self::server::Server;
use self::slow_link::SlowLink;

type Failure = Box<dyn Error + Send + Sync>;

/// Calls an axum server across a long link in three ways: with a new TCP
/// connection for each request, with hyper-util's keep-alive pool, and over
/// tcpchan.
///
/// Without a command, the server and a slow link to it are in this process.
/// The link has no slow start, so large bodies on new connections look faster
/// than they are. `serve` on one host and `call` on another do the same over a
/// real link. TCP_NODELAY is set in all three ways (hyper-util's HttpConnector
/// leaves it off unless told).
#[derive(Parser)]
#[command(name = "cross_region", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// Round trip of the simulated link in milliseconds; its timer is
    /// 1 to 2 ms late each way
    #[arg(long, value_name = "MS", default_value_t = 80)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rtt: u64,
    #[command(flatten)]
    load: Load,
}

#[derive(Subcommand)]
enum Mode {
    /// Serve the calls of another host, until Ctrl-C
    ///
    /// It takes two ports, one for plain HTTP and one for tcpchan; a firewall
    /// has to let both in. Its counts are of all callers together, so let one
    /// call at a time.
    Serve(Serve),
    /// Call the `serve` of another host, and measure the link's round trip
    ///
    /// It connects to both of the server's ports.
    Call(Call),
}

#[derive(Args)]
struct Serve {
    /// Where to listen for plain HTTP, such as 0.0.0.0:9000; port 0 takes two
    /// free ports
    #[arg(long, value_name = "HOST:PORT", value_parser = probe::host_and_port)]
    listen: String,
    /// The port for tcpchan [default: the one after that of --listen]
    #[arg(long, value_name = "PORT")]
    tcpchan_port: Option<u16>,
}

#[derive(Args)]
struct Call {
    /// The address that `serve` listens on for plain HTTP
    #[arg(value_name = "HOST:PORT", value_parser = probe::host_and_port)]
    addr: String,
    /// The server's port for tcpchan [default: the one after that of HOST:PORT]
    #[arg(long, value_name = "PORT")]
    tcpchan_port: Option<u16>,
    #[command(flatten)]
    load: Load,
}

#[tokio::main]
async fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    let result = match cli.mode {
        None => simulate(Duration::from_millis(cli.rtt), cli.load).await,
        Some(Mode::Serve(options)) => serve(options).await,
        Some(Mode::Call(options)) => call(options).await,
    };
    if let Err(error) = result {
        eprintln!("cross_region: {error}");
        std::process::exit(1);
    }
}

/// Prints the help, or what is wrong with the options as one line.
fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    eprintln!("cross_region: {line} (--help lists the options)");
    std::process::exit(2);
}

async fn simulate(rtt: Duration, load: Load) -> Result<(), Failure> {
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let tcpchan = TcpListener::bind("127.0.0.1:0").await?;
    let server = Server::new(plain, tcpchan)?;
    let target = server.target;
    tokio::spawn(server.run(std::future::pending::<()>));

    let rows = calls::three_ways(SlowLink::new(rtt), target, load).await?;
    print(Report::new(Path::Simulated(rtt), rows), load.json)
}

async fn serve(options: Serve) -> Result<(), Failure> {
    let cant_listen = |error| format!("can't listen on {}: {error}", options.listen);
    let plain = TcpListener::bind(&options.listen)
        .await
        .map_err(cant_listen)?;
    let mut addr = plain.local_addr()?;
    addr.set_port(match options.tcpchan_port {
        None if options.listen.ends_with(":0") => 0,
        port => probe::tcpchan_port(addr, port)?,
    });
    let tcpchan = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("can't listen on {addr} for tcpchan: {error}"))?;
    let server = Server::new(plain, tcpchan)?;
    println!(
        "listening on {} for plain HTTP and on {} for tcpchan; Ctrl-C stops",
        server.target.plain, server.target.tcpchan
    );
    server
        .run(async || drop(tokio::signal::ctrl_c().await))
        .await?;
    Ok(())
}

async fn call(options: Call) -> Result<(), Failure> {
    let Remote { target, rtt } = Remote::find(&options.addr, options.tcpchan_port).await?;
    let rows = calls::three_ways(connector(), target, options.load).await?;
    let path = Path::Real(target.plain, rtt);
    print(Report::new(path, rows), options.load.json)
}

/// hyper-util's own connector, as a careful user of long links sets it up.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(probe::CONNECT_TIMEOUT));
    connector
}

fn print(report: Report, json: bool) -> Result<(), Failure> {
    let text = if json {
        format!("{:#}\n", report.json())
    } else {
        report.to_string()
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
