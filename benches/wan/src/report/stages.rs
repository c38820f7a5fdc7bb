//! The tables of scenarios that have stages: one for each stage.

use std::fmt::{Result, Write};

use super::row::{Phase, Run};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run of an earlier program wrote.
    const RUN: &str = r#"{
        "scenario": "mixed", "about": "all at once", "way": "h2",
        "conditions": {
            "round_trip": {"secs": 0, "nanos": 80000000}, "jitter": {"secs": 0, "nanos": 0},
            "rate": 200000000, "queue": {"secs": 0, "nanos": 40000000}, "loss": 0.0,
            "congestion": "bbr", "seed": 1
        },
        "phases": [
            {"name": "clean: small", "p50": 1.0, "p99": 2.0, "rounds": 1, "requests": 9,
             "failed": 1, "done": 100.0, "mbit_per_second": 0.0},
            {"name": "clean again: small", "p50": 3.0, "p99": 4.0, "rounds": 1, "requests": 9,
             "failed": 0, "done": 100.0, "mbit_per_second": 0.0}
        ],
        "stages": [
            {"name": "clean", "connections": {"most": 5, "last": 2}, "queue_drops": 7},
            {"name": "clean again", "connections": {"most": 2, "last": 2}, "queue_drops": 0}
        ],
        "failure": null,
        "accuracy": {
            "realtime": true,
            "to_client": {"packets": 1, "lost": 0, "queue_drops": 7, "faults": 0,
                          "late_p50_us": 1, "late_p99_us": 1, "late_max_us": 1},
            "to_server": {"packets": 1, "lost": 0, "queue_drops": 0, "faults": 0,
                          "late_p50_us": 1, "late_p99_us": 1, "late_max_us": 1}
        }
    }"#;

    #[test]
    fn each_stage_has_a_table_of_its_own_phases_and_connections() {
        let runs = [serde_json::from_str(RUN).unwrap()];
        let mut text = String::new();
        write_tables(&mut text, &runs).unwrap();
        let rows: Vec<_> = text.lines().filter(|line| line.contains("h2")).collect();
        let clean = "| h2 | 1.00 / 2.00 | 1 | 5; 2 | 7 |";
        let again = "| h2 | 3.00 / 4.00 | 0 | 2; 2 | 0 |";
        assert_eq!(rows, [clean, again]);
    }
}
