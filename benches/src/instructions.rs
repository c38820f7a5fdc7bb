//! Instructions of small fixed work, by callgrind: the same on a busy machine,
//! so that a later change that costs shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::run;

/// What is counted, and what it is.
const WORKS: [(&str, &str); 4] = [
    ("encode", "a DATA frame of 100 bytes and a WINDOW to bytes"),
    ("decode", "the same two from bytes"),
    ("request", "100 bytes there and 200 back through two cores"),
    (
        "open-close",
        "open, 100 bytes and FIN each way, close, through two cores",
    ),
];

const TIMES: u64 = 2_000;

/// Growth that fails a check.
const ALLOWED: f64 = 1.02;

type Saved = BTreeMap<String, f64>;

/// Counts, prints beside the saved counts, and saves or checks if asked to.
pub fn run(file: &Path, save: bool, check: bool) -> anyhow::Result<()> {
    let program = run::build("tcpchan-bench-instructions")?;
    let saved: Saved = match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Saved::new(),
    };
    let mut counted = Saved::new();
    println!("| work | instructions | saved | change |\n| --- | ---: | ---: | ---: |");
    for (work, label) in WORKS {
        let more = callgrind(&program, work, 2 * TIMES)? - callgrind(&program, work, TIMES)?;
        let each = more / TIMES as f64;
        let before = saved.get(work);
        let change = before.map(|before| (each / before - 1.0) * 100.0);
        let change = change.map(|change| format!("{change:+.1} %"));
        let [before, change] = [before.map(f64::to_string), change].map(Option::unwrap_or_default);
        println!("| {label} (`{work}`) | {each:.0} | {before} | {change} |");
        counted.insert(work.to_owned(), each.round());
    }
    if save {
        std::fs::write(file, serde_json::to_string_pretty(&counted)? + "\n")?;
    }
    let grown = |(work, count): (&String, &f64)| {
        saved
            .get(work)
            .is_some_and(|before| *count > before * ALLOWED)
    };
    ensure!(
        !check || !counted.iter().any(grown),
        "the counts have grown"
    );
    Ok(())
}

fn callgrind(program: &Path, work: &str, times: u64) -> anyhow::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([work, &times.to_string()])
        .output()
        .context("is valgrind installed?")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{work} failed: {text}");
    let count = text
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    Ok(count.context("no count")?.trim().parse()?)
}
