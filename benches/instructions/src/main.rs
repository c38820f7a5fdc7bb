//! Instructions of small fixed work, by callgrind: the same on a busy machine,
//! so that a later change that costs shows.

mod pair;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

use self::work::Work;

/// How often the work is done in the shorter of two runs. What both runs share,
/// the start of the process, is in neither count.
const TIMES: u64 = 2_000;

/// Growth that fails a check.
const ALLOWED: f64 = 1.02;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/saved.json");

/// Counts the instructions of small fixed work beside those that were saved.
#[derive(Parser)]
struct Cli {
    /// Save the counts.
    #[arg(long)]
    save: bool,
    /// Fail if a count has grown by more than 2 %, or the saved ones are another compiler's.
    #[arg(long)]
    check: bool,
    /// What is counted: do one work so many times.
    #[arg(long, num_args = 2, value_names = ["WORK", "TIMES"], hide = true)]
    run: Option<Vec<String>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Saved {
    /// Another compiler makes other instructions.
    compiler: String,
    instructions: BTreeMap<String, f64>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(run) = cli.run {
        return Work::named(&run[0])?.run(run[1].parse()?);
    }
    let saved: Saved = match std::fs::read_to_string(FILE) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Saved::default(),
    };
    let compiler = compiler()?;
    let mut instructions = BTreeMap::new();
    println!("| work | instructions | saved | change |\n| --- | ---: | ---: | ---: |");
    for work in Work::ALL {
        let name = work.name();
        let more = callgrind(name, 2 * TIMES)? - callgrind(name, TIMES)?;
        let each = more / TIMES as f64;
        let before = saved.instructions.get(name);
        let change = before.map(|before| format!("{:+.1} %", (each / before - 1.0) * 100.0));
        let [before, change] = [before.map(f64::to_string), change].map(Option::unwrap_or_default);
        println!("| {work} (`{name}`) | {each:.0} | {before} | {change} |");
        instructions.insert(name.to_owned(), each.round());
    }
    let grown = instructions.iter().any(|(name, count)| {
        let before = saved.instructions.get(name);
        before.is_none_or(|before| *count > before * ALLOWED)
    });
    if cli.save {
        let new = Saved {
            compiler: compiler.clone(),
            instructions,
        };
        std::fs::write(FILE, serde_json::to_string_pretty(&new)? + "\n")?;
    }
    if cli.check && saved.compiler != compiler {
        println!(
            "not checked: the saved counts are those of {}",
            saved.compiler
        );
        return Ok(());
    }
    ensure!(!cli.check || !grown, "a count has grown by more than 2 %");
    Ok(())
}

fn compiler() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn callgrind(work: &str, times: u64) -> anyhow::Result<f64> {
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(Path::new(&program))
        .args(["--run", work, &times.to_string()])
        .output()
        .context("is valgrind installed?")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{work} failed: {text}");
    let count = text
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    Ok(count.context("no count")?.trim().parse()?)
}
