//! `tcpchan ping`: how long a round trip takes, and where.

mod report;
mod round;
mod spread;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use self::report::Report;
use self::round::Pinger;
use crate::args;
use crate::failure::Failure;
use crate::process::tasks_ended;
use crate::stats::print;

/// How long the connections may take at the end to close. The user waits for it.
const GOODBYE: Duration = Duration::from_secs(1);

pub async fn run(args: args::Ping) -> Result<(), Failure> {
    let pinger = Pinger::new(&args)?;
    let mut report = Report::new(args.to.clone());
    let rounds = async {
        let mut next = interval(args.interval);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..args.count {
            next.tick().await;
            let round = match timeout(args.timeout, pinger.round()).await {
                Ok(round) => round,
                Err(_) => {
                    let waits = pinger.waits_for();
                    Err(format!("no answer within {:?}: {waits}", args.timeout))
                }
            };
            if !args.json {
                print(&report.line(&round));
            }
            report.add(round);
        }
    };
    tokio::select! {
        () = rounds => {}
        _ = tokio::signal::ctrl_c() => {} // what was measured is of use
    }
    match args.json {
        true => print(&report.json()?),
        false => print(&report.table()),
    }
    let _ = timeout(GOODBYE, tasks_ended()).await;
    report.result()
}
