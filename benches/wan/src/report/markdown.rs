//! The tables: one for each scenario and its conditions, one line a way.

use std::fmt::Write;

use super::row::{Phase, Run};
use super::stages;

pub fn render(runs: &[Run]) -> String {
    let mut text = String::new();
    for table in runs.chunk_by(|a, b| a.title() == b.title()) {
        // Writing to a string can't fail.
        let _ = match table.iter().any(Run::has_stages) {
            true => stages::write_tables(&mut text, table),
            false => write_table(&mut text, table),
        };
    }
    let _ = write_accuracy(&mut text, runs);
    text
}

fn write_table(text: &mut String, runs: &[Run]) -> std::fmt::Result {
    let Some(widest) = runs.iter().max_by_key(|run| run.phases.len()) else {
        return Ok(());
    };
    writeln!(text, "### {}\n", widest.title())?;
    write!(text, "| way |")?;
    for phase in &widest.phases {
        write!(text, " {} |", heading(phase))?;
    }
    writeln!(
        text,
        " queue drops |\n|---|{}---|",
        "---|".repeat(widest.phases.len())
    )?;
    for run in runs {
        write!(text, "| {} |", run.way)?;
        for phase in &run.phases {
            write!(text, " {} |", cell(phase))?;
        }
        if let Some(failure) = &run.failure {
            write!(text, " failed: {failure} |")?;
        }
        let (there, back) = (&run.accuracy.to_server, &run.accuracy.to_client);
        writeln!(text, " {} |", there.queue_drops + back.queue_drops)?;
    }
    writeln!(text)
}

fn heading(phase: &Phase) -> String {
    format!("{} p50 / p99, {}", phase.name, extra(phase).0)
}

fn cell(phase: &Phase) -> String {
    format!("{:.2} / {:.2}, {}", phase.p50, phase.p99, extra(phase).1)
}

/// What is told beside the latencies: of a burst when all was done, of a
/// transfer its rate.
fn extra(phase: &Phase) -> (&str, String) {
    if phase.name == "datagrams" {
        ("lost", format!("{:.2} %", phase.datagrams_lost() * 100.0))
    } else if phase.requests > phase.rounds && phase.mbit_per_second > 0.0 {
        ("all done", format!("{:.2}", phase.done))
    } else if phase.mbit_per_second > 1.0 {
        ("Mbit/s", format!("{:.0}", phase.mbit_per_second))
    } else {
        ("requests", phase.requests.to_string())
    }
}

/// The worst of each figure of all the links.
fn write_accuracy(text: &mut String, runs: &[Run]) -> std::fmt::Result {
    let directions = || {
        runs.iter()
            .flat_map(|run| [&run.accuracy.to_client, &run.accuracy.to_server])
    };
    let worst =
        |figure: fn(&crate::link::Direction) -> u64| directions().map(figure).max().unwrap_or(0);
    let sum = |figure: fn(&crate::link::Direction) -> u64| directions().map(figure).sum::<u64>();
    let realtime = runs.iter().all(|run| run.accuracy.realtime);
    writeln!(
        text,
        "Latencies are in round trips. The links' own accuracy: {} packets, {} lost as asked for, \
         {} dropped by the full queue, {} faults; lateness in µs, the worst link: p50 {}, p99 {}, \
         max {}; the link's thread had {} priority. Runs in which TCP of the whole host was short of \
         memory: {}.",
        sum(|d| d.packets),
        sum(|d| d.lost),
        sum(|d| d.queue_drops),
        sum(|d| d.faults),
        worst(|d| d.late_p50_us),
        worst(|d| d.late_p99_us),
        worst(|d| d.late_max_us),
        if realtime { "real-time" } else { "normal" },
        runs.iter().filter(|run| run.short_of_memory).count()
    )
}
