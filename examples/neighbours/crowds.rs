//! What a crowd of hostile peers costs an honest one, and the server.

use std::io::BufRead;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::honest::{self, Latencies};
use crate::{Failure, Options, Process, ahead, both, crowd, median, serve, stay_on};

/// One crowd, at a server of its own.
struct Measured {
    without: Latencies,
    /// While it comes, and while it stays.
    comes: Latencies,
    stays: Latencies,
    newcomers: Latencies,
    /// MiB: the most that the process had, and what its connections leased in the end.
    peak: f64,
    leased: f64,
    /// Peers that were not cut off by then.
    left: String,
}

#[tokio::main(flavor = "current_thread")]
pub async fn measure(options: &Options, count: usize) -> Result<(), Failure> {
    println!(
        "p50 / p99 of {} requests a second, in microseconds, beside {count} peers at {} addresses; medians of {} rounds",
        options.rate, options.networks, options.rounds
    );
    println!(
        "| each peer | without | as they come | failed, % | as they stay | failed, % | ratio | a new client | failed, % | the process, MiB | leased, MiB | peers left |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let cpus = sched_getaffinity(None)?;
    for (nth, kind) in crowd::KINDS.iter().enumerate() {
        if kind.name.contains(&options.only) {
            let mut rounds = Vec::new();
            for _ in 0..options.rounds {
                rounds.push(once(options, &cpus, nth, count).await?);
            }
            report(kind.name, &rounds);
        }
    }
    Ok(())
}

async fn once(
    options: &Options,
    cpus: &CpuSet,
    nth: usize,
    count: usize,
) -> Result<Measured, Failure> {
    sched_setaffinity(None, cpus)?;
    let (server, ports) = serve(options)?;
    stay_on(1)?; // which those that are started from here on inherit
    ahead(std::process::id());
    let client = honest::Client::new(&ports.server)?;
    let requests = |seconds| client.requests(options.rate, Duration::from_secs(seconds));
    requests(1).await?; // warm
    let with_newcomers = async || {
        let time = Duration::from_secs(options.seconds);
        tokio::try_join!(
            requests(options.seconds),
            honest::newcomers(&ports.server, time),
        )
    };
    // They are work as well, with and without the crowd.
    let (without, _) = with_newcomers().await?;
    let all = 2 * options.seconds + 2;
    let (nth, count, seconds) = (nth.to_string(), count.to_string(), all.to_string());
    let (networks, connect_first) = (
        options.networks.to_string(),
        options.connect_first.to_string(),
    );
    let args = [
        "crowd",
        &nth,
        &count,
        &seconds,
        &networks,
        &connect_first,
        &ports.server,
    ];
    let (mut peers, mut says) = Process::start(&args)?;
    let comes = requests(options.seconds).await?;
    let (stays, newcomers) = with_newcomers().await?;
    let leased = client.leased().await? / f64::from(1 << 20);
    let peak = server.peak()?;
    let mut left = String::new();
    says.read_line(&mut left)?;
    peers.0.wait()?;
    Ok(Measured {
        without,
        comes,
        stays,
        newcomers,
        peak,
        leased,
        left: left.trim().to_owned(),
    })
}

fn report(name: &str, rounds: &[Measured]) {
    let both = |of: fn(&Measured) -> &Latencies| both(rounds, of);
    let (without, comes) = (both(|one| &one.without), both(|one| &one.comes));
    let (stays, newcomers) = (both(|one| &one.stays), both(|one| &one.newcomers));
    let ratio = median(rounds, |one| one.stays.at(0.99) / one.without.at(0.99));
    let most = |of: fn(&Measured) -> f64| rounds.iter().map(of).fold(0.0, f64::max);
    // A median would hide the failures of a round.
    let (of_first, of_later) = (
        most(|one| one.comes.failed()),
        most(|one| one.stays.failed()),
    );
    let of_new = most(|one| one.newcomers.failed());
    let (peak, leased) = (most(|one| one.peak), most(|one| one.leased));
    let left = rounds.last().map_or("", |one| &one.left);
    println!(
        "| {name} | {without} | {comes} | {of_first:.2} | {stays} | {of_later:.2} | {ratio:.2} | {newcomers} | {of_new:.1} | {peak:.0} | {leased:.0} | {left} |"
    );
}
