//! Runs rows round by round, each row of each way in a process of its own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use wait_timeout::ChildExt;

use crate::build;
use crate::measure::Measured;
use crate::row::{Row, Way};

/// How long a process may take besides what it measures.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    Measured(Measured),
    Hung,
    Failed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub row: String,
    pub way: Way,
    pub round: usize,
    pub outcome: Outcome,
}

/// What is counted once, outside the timed rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counts {
    pub row: String,
    pub way: Way,
    pub allocations: Option<f64>,
    pub system_calls: Option<f64>,
}

pub struct Plan {
    pub rows: Vec<&'static Row>,
    pub ways: Vec<Way>,
    pub rounds: usize,
    pub seconds: f64,
    /// How often to repeat what other programs have disturbed.
    pub repeats: usize,
}

/// The same program with the system's allocator, which counts: for memory, too, as
/// what is resident depends on the allocator.
const SYSTEM_ALLOCATOR: &str = "tcpchan-bench-allocations";

/// Cores in use by other programs from which on a measurement is disturbed: on
/// a busy machine both ends wait for a core, and what batches looks better.
const DISTURBED: f64 = 0.15;

fn disturbance(outcome: &Outcome) -> f64 {
    match outcome {
        Outcome::Measured(measured) => measured.others,
        _ => 0.0, // it isn't the others' fault
    }
}

impl Plan {
    fn pairs(&self, rows: &[&'static Row]) -> Vec<(&'static Row, Way)> {
        let ways = |row: &&'static Row| {
            let row = *row;
            let ways = self.ways.iter().filter(move |way| row.runs(**way));
            ways.map(move |way| (row, *way))
        };
        rows.iter().flat_map(ways).collect()
    }

    /// Rounds over the ways, so that what else the machine does meets all of
    /// them. A way that has hung or failed in a row is not tried again.
    pub fn measure(&self) -> anyhow::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let program = this_program();
        let of_system = match self.rows.iter().any(|row| row.is_memory()) {
            true => Some(build::other(SYSTEM_ALLOCATOR)?),
            false => None,
        };
        for rows in self.rows.chunk_by(|a, b| a.is_scale() && b.is_scale()) {
            let mut pairs = self.pairs(rows);
            for round in 0..self.rounds {
                eprintln!("round {} of {}: {}", round + 1, self.rounds, names(rows));
                pairs.retain(|&(row, way)| {
                    let of_system = of_system.as_ref().filter(|_| row.is_memory());
                    let outcome = self.quietly(of_system.unwrap_or(&program), row, way);
                    let good = matches!(outcome, Outcome::Measured(_));
                    let row = row.name.to_owned();
                    entries.push(Entry {
                        row,
                        way,
                        round,
                        outcome,
                    });
                    good
                });
            }
        }
        Ok(entries)
    }

    /// Measures again when other programs were in the way; the quietest counts.
    fn quietly(&self, program: &Path, row: &Row, way: Way) -> Outcome {
        let mut best = run(Command::new(program), row, way, self.seconds);
        for _ in 0..self.repeats {
            if disturbance(&best) <= DISTURBED {
                break;
            }
            let again = run(Command::new(program), row, way, self.seconds);
            if disturbance(&again) < disturbance(&best) {
                best = again;
            }
        }
        best
    }

    /// Allocations and system calls for each operation.
    pub fn count(&self) -> anyhow::Result<Vec<Counts>> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .copied()
            .filter(|row| row.is_counted())
            .collect();
        let program = this_program();
        let counting = build::other(SYSTEM_ALLOCATOR)?;
        let count = |(row, way): (&'static Row, Way)| {
            eprintln!("counting {} {}", row.name, way);
            let allocations = match run(Command::new(&counting), row, way, self.seconds) {
                Outcome::Measured(measured) => measured.allocations,
                _ => None,
            };
            Counts {
                row: row.name.to_owned(),
                way,
                allocations,
                system_calls: system_calls(&program, row, way, self.seconds),
            }
        };
        Ok(self.pairs(&rows).into_iter().map(count).collect())
    }
}

fn names(rows: &[&Row]) -> String {
    rows.iter()
        .map(|row| row.name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The running binary itself, also after a build has put another in its place.
fn this_program() -> PathBuf {
    format!("/proc/{}/exe", std::process::id()).into()
}

/// Runs `program measure ROW WAY`; one that makes no progress is killed.
fn run(mut program: Command, row: &Row, way: Way, seconds: f64) -> Outcome {
    let child = program
        .args([
            "measure",
            row.name,
            &way.to_string(),
            "--seconds",
            &seconds.to_string(),
        ])
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return Outcome::Failed;
    };
    let patience = PATIENCE + Duration::from_secs_f64(2.0 * seconds);
    let Ok(Some(status)) = child.wait_timeout(patience) else {
        let _ = child.kill();
        let _ = child.wait();
        eprintln!("{} {way}: not done after {patience:?}", row.name);
        return Outcome::Hung;
    };
    let mut text = String::new();
    let read = child
        .stdout
        .take()
        .map(|mut out| out.read_to_string(&mut text));
    match serde_json::from_str::<Measured>(&text) {
        Ok(measured) if measured.hung => {
            let done = measured.total;
            eprintln!("{} {way}: nothing more after {done} operations", row.name);
            Outcome::Hung
        }
        Ok(measured) if status.success() && read.is_some() => Outcome::Measured(measured),
        _ => Outcome::Failed,
    }
}

/// Calls for each operation by `perf stat`, without those of starting up;
/// `None` where the system doesn't let us count.
fn system_calls(program: &Path, row: &Row, way: Way, seconds: f64) -> Option<f64> {
    let (all, operations) = perf(program, row, way, seconds).ok()?;
    let (started, first) = perf(program, row, way, 0.0).ok()?;
    Some((all - started) / (operations - first))
}

fn perf(program: &Path, row: &Row, way: Way, seconds: f64) -> anyhow::Result<(f64, f64)> {
    let out = std::env::temp_dir().join(format!("tcpchan-bench-{}", std::process::id()));
    let mut command = Command::new("perf");
    command
        .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o"])
        .args([&out, program]);
    let outcome = run(command, row, way, seconds);
    let text = std::fs::read_to_string(&out)?;
    std::fs::remove_file(&out)?;
    let line = text.lines().find(|line| line.contains("sys_enter"));
    let calls = line
        .and_then(|line| line.split(',').next())
        .context("no count")?;
    let operations = match outcome {
        Outcome::Measured(measured) => measured.total,
        _ if seconds == 0.0 => 0,
        _ => anyhow::bail!("not measured"),
    };
    Ok((calls.parse()?, operations as f64))
}
