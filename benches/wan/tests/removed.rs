//! Nothing of the bench is left, however it ends. Needs what the bench needs:
//! root, or a plain user who may have user namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts the bench and returns once it has measured something, so that it is
/// in the middle of the next.
fn running() -> (Child, BufReader<std::process::ChildStderr>) {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_wan"))
        .args(["small", "--ways", "tcp,h1-pool,h1-new,h2", "--rounds", "1"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(bench.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.contains("warm"), "{line}");
    (bench, errors)
}

/// The network namespaces of the processes whose program it is.
fn namespaces(of: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|process| process.path())
        .filter(|process| fs::read_link(process.join("exe")).is_ok_and(|program| of(&program)))
        .filter_map(|process| fs::read_link(process.join("ns/net")).ok())
        .collect()
}

/// What is outside the bench's namespaces.
fn outside() -> (String, Vec<PathBuf>) {
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    let names = devices.lines().filter_map(|line| line.split(':').next());
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    (names.collect(), named.map(|entry| entry.path()).collect())
}

/// The bench's processes hold its standard error: it ends with the last.
fn wait_for_all(errors: BufReader<std::process::ChildStderr>) {
    errors.lines().for_each(drop);
}

fn nothing_is_left_after(signal: Signal) {
    let around = outside();
    let (mut bench, errors) = running();
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let is_bench = |program: &Path| program == Path::new(env!("CARGO_BIN_EXE_wan"));
    let mut inside = BTreeSet::new();
    while inside.is_empty() {
        assert!(bench.try_wait().unwrap().is_none(), "it ended too early");
        inside = namespaces(is_bench);
        inside.remove(&ours);
    }
    assert_eq!(outside(), around);
    kill(Pid::from_raw(bench.id() as i32), signal).unwrap();
    assert!(!bench.wait().unwrap().success());
    wait_for_all(errors);
    assert_eq!(outside(), around);
    let all = namespaces(|_| true);
    let left: Vec<_> = all.intersection(&inside).collect();
    assert!(left.is_empty(), "{left:?}");
}

// One test, so that one bench at a time is looked at.
#[test]
fn nothing_is_left_after_an_interrupt_or_a_kill() {
    nothing_is_left_after(Signal::SIGINT);
    nothing_is_left_after(Signal::SIGKILL);
}
