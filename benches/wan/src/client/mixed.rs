//! Requests of all sizes, bursts and an event stream, on a link that turns lossy
//! and recovers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::events::{Events, Seen};
use super::output::{Event, Sample, tell};
use super::peer::Peer;
use super::plan::{Class, Request, plan};
use super::watch::Watch;

/// The link's losses, and how many times as long as others they last: what loss
/// has left behind may take a while to go.
const STAGES: &[(&str, f64, u32)] = &[
    ("clean", 0.0, 1),
    ("0.5 %", 0.005, 1),
    ("2 %", 0.02, 1),
    ("clean again", 0.0, 2),
];

/// Before the first stage, so that it has no cold starts.
const WARM_UP: Duration = Duration::from_secs(3);

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often the server sends an event.
const EVENTS: Duration = Duration::from_millis(200);

/// How long all of them take, if each of those that are not longer takes so long.
pub fn length(stage: Duration) -> Duration {
    let times = STAGES.iter().map(|(_, _, times)| times).sum::<u32>();
    WARM_UP + stage * times + TIMEOUT
}

/// The link changes at its time, whatever requests are still on their way; a
/// request belongs to the stage in which it was due.
pub async fn mixed(peer: &Peer, length: Duration) -> Result<()> {
    let watch = Watch::new(peer.way().address().port());
    let events = Events::new(peer, EVENTS);
    let mut all = Vec::new();
    requests(peer, plan(0, WARM_UP)).await.join_all().await;
    events.take();
    watch.take();
    for (seed, (name, loss, times)) in (1..).zip(STAGES) {
        tell(Event::Loss(*loss))?;
        let tasks = requests(peer, plan(seed, length * *times)).await;
        tell(Event::Stage((*name).into(), watch.take()))?;
        all.push((*name, tasks, events.take()));
    }
    for (name, tasks, events) in all {
        report(name, tasks.join_all().await, events, length)?;
    }
    Ok(())
}

/// How long a request took since it was due, in seconds, or why it failed.
type Outcome = (Class, Result<f64, String>);

/// Starts each at its time, and returns when the last one's has come.
async fn requests(peer: &Peer, plan: Vec<Request>) -> JoinSet<Outcome> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for request in plan {
        let due = start + request.at;
        sleep_until(due).await;
        let peer = peer.clone();
        tasks.spawn(async move { (request.class, run(&peer, request, due).await) });
    }
    tasks
}

async fn run(peer: &Peer, request: Request, due: Instant) -> Result<f64, String> {
    let work = async {
        match request.class {
            Class::Upload => peer.put(request.bytes).await,
            _ => peer.get(request.bytes).await,
        }
    };
    match timeout(TIMEOUT, work).await {
        Ok(Ok(())) => Ok(due.elapsed().as_secs_f64()),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("it took more than {TIMEOUT:?}")),
    }
}

/// One that failed counts as one that took as long as one may.
fn report(stage: &str, outcomes: Vec<Outcome>, events: Seen, length: Duration) -> Result<()> {
    let sample = |class, latencies: Vec<f64>, failed| match latencies.is_empty() {
        true => Ok(()), // the stage is too short to have one
        false => tell(Event::Sample(Sample {
            phase: format!("{stage}: {class}"),
            latencies,
            failed,
            wall: length.as_secs_f64(),
            bytes: 0,
        })),
    };
    for class in Class::ALL {
        let of_class = || outcomes.iter().filter(|outcome| outcome.0 == class);
        let latency = |outcome: &Outcome| *outcome.1.as_ref().unwrap_or(&TIMEOUT.as_secs_f64());
        let failed = of_class().filter(|outcome| outcome.1.is_err()).count();
        sample(class.name(), of_class().map(latency).collect(), failed)?;
    }
    let failed = events.ends.len();
    let errors = outcomes.into_iter().filter_map(|outcome| outcome.1.err());
    explain(stage, errors.chain(events.ends));
    sample("events", events.ages, failed)
}

/// Says on standard error why how many failed.
fn explain(stage: &str, errors: impl Iterator<Item = String>) {
    let mut counts = BTreeMap::new();
    for error in errors {
        *counts.entry(error).or_insert(0) += 1;
    }
    for (error, count) in counts {
        eprintln!("{stage}: {count} failed: {error}");
    }
}
