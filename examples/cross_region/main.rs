//! The main job: the same calls across a slow link in three ways.
//!
//! `cargo run --release --example cross_region -- --help`

mod link;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::Connect};
use hyper_util::rt::TokioExecutor;
use tcpchan::Config;
use tcpchan::client::Multiplex;
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::link::Link;

type Failure = Box<dyn Error + Send + Sync>;

/// Calls an axum server across a slow link: with a new TCP connection for each
/// request, with hyper-util's keep-alive pool, and over tcpchan.
#[derive(Parser, Clone, Copy)]
struct Options {
    /// Round trip of the link, in milliseconds
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rtt: u64,
    /// Bytes of each response's body
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=1 << 30))]
    body: u32,
    /// Requests one after another
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// Requests at once in a burst
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One row of the table.
struct Row {
    way: &'static str,
    work: &'static str,
    connections: usize,
    latencies: Vec<Duration>,
    wall: Duration,
}

#[tokio::main]
async fn main() {
    if let Err(error) = run(Options::parse()).await {
        eprintln!("cross_region: {error}");
        std::process::exit(1);
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for way in ["new connections", "keep-alive pool", "tcpchan"] {
        eprintln!("{way} ...");
        let (addr, accepted) = serve(way == "tcpchan", options.body).await?;
        let link = Link {
            rtt: Duration::from_millis(options.rtt),
        };
        let uri = format!("http://{addr}/");
        let mut builder = Client::builder(TokioExecutor::new());
        if way == "new connections" {
            builder.pool_max_idle_per_host(0);
        }
        rows.extend(match way {
            "tcpchan" => {
                let client = builder.build(Multiplex::new(link));
                measure(way, client, &uri, &accepted, options).await?
            }
            _ => measure(way, builder.build(link), &uri, &accepted, options).await?,
        });
    }
    print(&rows, options);
    Ok(())
}

/// An axum server, and the count of TCP connections that it accepts.
async fn serve(tcpchan: bool, body: u32) -> Result<(SocketAddr, Arc<AtomicUsize>), Failure> {
    let body = Bytes::from(vec![b'x'; body as usize]);
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let app = Router::new().route("/", get(move || async { body }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    if tcpchan {
        let app = app.layer(axum::middleware::map_request(
            move |axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<PeerInfo>,
                  request: axum::extract::Request| {
                count.fetch_max(peer.connection as usize, Relaxed);
                async { request }
            },
        ));
        let service = app.into_make_service_with_connect_info::<PeerInfo>();
        let acceptor = Acceptor::new(listener, Config::default());
        tokio::spawn(async { axum::serve(acceptor, service).await });
    } else {
        let listener = listener.tap_io(move |io| {
            let _ = io.set_nodelay(true);
            count.fetch_add(1, Relaxed);
        });
        tokio::spawn(async { axum::serve(listener, app).await });
    }
    Ok((addr, accepted))
}

/// The three works of one way: cold, a burst, one after another.
async fn measure<C>(
    way: &'static str,
    client: Client<C, Empty<Bytes>>,
    uri: &str,
    accepted: &AtomicUsize,
    options: Options,
) -> Result<Vec<Row>, Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut rows = Vec::new();
    let burst = options.concurrency.into();
    let works = [
        ("one cold", 1, 1),
        ("a burst", burst, burst),
        ("one after another", options.count.into(), 1),
    ];
    for (work, count, at_once) in works {
        let (before, start) = (accepted.load(Relaxed), Instant::now());
        let mut latencies = calls(&client, uri, count, at_once, options.body).await?;
        latencies.sort();
        rows.push(Row {
            way,
            work,
            connections: accepted.load(Relaxed) - before,
            latencies,
            wall: start.elapsed(),
        });
    }
    Ok(rows)
}

async fn calls<C>(
    client: &Client<C, Empty<Bytes>>,
    uri: &str,
    count: usize,
    at_once: usize,
    body: u32,
) -> Result<Vec<Duration>, Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let (client, uri) = (client.clone(), uri.parse::<hyper::Uri>()?);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for _ in 0..count / at_once {
                let start = Instant::now();
                let response = client.get(uri.clone()).await?;
                let got = response.into_body().collect().await?.to_bytes();
                if got.len() != body as usize {
                    return Err(Failure::from(
                        "a body is not of the length that was asked for",
                    ));
                }
                latencies.push(start.elapsed());
            }
            Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}

/// The latency that `percent` of the requests stayed within.
fn percentile(row: &Row, percent: usize) -> f64 {
    let at = (row.latencies.len() * percent).div_ceil(100).max(1) - 1;
    row.latencies[at].as_secs_f64() * 1e3
}

fn print(rows: &[Row], options: Options) {
    let rtt = options.rtt as f64;
    if !options.json {
        println!(
            "{:<16} {:<18} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "way", "work", "TCP", "p50 ms", "p99 ms", "p50 RTT", "p99 RTT", "req/s"
        );
    }
    for row in rows {
        let (p50, p99) = (percentile(row, 50), percentile(row, 99));
        let rate = row.latencies.len() as f64 / row.wall.as_secs_f64();
        let (way, work, tcp) = (row.way, row.work, row.connections);
        if options.json {
            let line = serde_json::json!({
                "way": way, "work": work, "tcp_connections": tcp, "p50_ms": p50, "p99_ms": p99,
                "p50_rtt": p50 / rtt, "p99_rtt": p99 / rtt, "requests_per_second": rate,
            });
            println!("{line}");
        } else {
            println!(
                "{way:<16} {work:<18} {tcp:>5} {p50:>8.1} {p99:>8.1} {:>8.2} {:>8.2} {rate:>8.1}",
                p50 / rtt,
                p99 / rtt
            );
        }
    }
    if !options.json {
        println!(
            "Simulated: a link of {rtt} ms round trip inside this process, without loss or a rate \
             limit; a TCP connection costs one round trip to set up. The servers counted the \
             TCP connections."
        );
    }
}
