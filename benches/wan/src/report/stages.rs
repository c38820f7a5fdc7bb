//! The tables of scenarios that have stages: one for each stage.

use std::fmt::{Result, Write};

use super::{Phase, Run};

pub fn write_tables(text: &mut String, runs: &[Run]) -> Result {
    let Some(longest) = runs.iter().max_by_key(|run| run.stages.len()) else {
        return Ok(());
    };
    writeln!(text, "### {}\n", longest.title())?;
    for stage in &longest.stages {
        write_table(text, &stage.name, runs)?;
    }
    for run in runs {
        if let Some(failure) = &run.failure {
            writeln!(text, "{} failed: {failure}\n", run.way)?;
        }
    }
    Ok(())
}

fn write_table(text: &mut String, name: &str, runs: &[Run]) -> Result {
    let Some(widest) = runs.iter().max_by_key(|run| run.of_stage(name).count()) else {
        return Ok(());
    };
    write!(text, "| {name} |")?;
    for (class, phase) in widest.of_stage(name) {
        let rate = if is_timed(phase) { ", Mbit/s" } else { "" };
        write!(text, " {class} p50 / p99{rate} |")?;
    }
    let columns = widest.of_stage(name).count();
    writeln!(
        text,
        " failed | connections, most; at the end | queue drops |\n|---|{}---|---|---|",
        "---|".repeat(columns)
    )?;
    for run in runs {
        let Some(stage) = run.stages.iter().find(|stage| stage.name == name) else {
            continue;
        };
        write!(text, "| {} |", run.way)?;
        for (_, phase) in run.of_stage(name) {
            write!(text, " {:.2} / {:.2}", phase.p50, phase.p99)?;
            match is_timed(phase) {
                true => write!(text, ", {:.1} |", phase.mbit_per_second)?,
                false => write!(text, " |")?,
            }
        }
        let failed: usize = run.of_stage(name).map(|(_, phase)| phase.failed).sum();
        let (most, last) = (stage.connections.most, stage.connections.last);
        let drops = stage.queue_drops;
        writeln!(text, " {failed} | {most}; {last} | {drops} |")?;
    }
    writeln!(text)
}

/// Whether it is known how long all of it took.
fn is_timed(phase: &Phase) -> bool {
    phase.mbit_per_second > 0.0
}

impl Run {
    /// The phases of a stage, and their names in it.
    fn of_stage(&self, name: &str) -> impl Iterator<Item = (&str, &Phase)> {
        self.phases.iter().filter_map(move |phase| {
            let class = phase.name.strip_prefix(name)?.strip_prefix(": ")?;
            Some((class, phase))
        })
    }
}
