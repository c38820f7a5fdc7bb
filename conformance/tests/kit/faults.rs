//! The kit's own endpoint passes, and with each fault it fails a case of the rule that the
//! fault breaks.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tcpchan_conformance::echo::{self, Faults};
use tcpchan_conformance::peer::Role::{self, Client, Server};
use tcpchan_conformance::peer::Target;
use tcpchan_conformance::report::{self, Options, Row, Verdict};

fn run(role: Role, faults: &[&'static str], only: &[&str], patience: u64) -> Vec<Row> {
    let faults = Faults::new(faults);
    let target = match role {
        Role::Server => Target::Server(echo::serve(&faults).unwrap().to_string()),
        Role::Client => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            echo::dial(listener.local_addr().unwrap(), &faults);
            Target::Client(listener)
        }
    };
    let options = Options {
        only: only.iter().map(|rule| rule.to_string()).collect(),
        patience: Duration::from_millis(patience),
        strict: true,
        ..Options::default()
    };
    report::run(&target, &options, |_| {})
}

fn failures(rows: &[Row]) -> Vec<String> {
    let why = |row: &Row| match &row.verdict {
        Verdict::Passed => None,
        other => Some(format!("{} {}: {other:?}", row.rule, row.name)),
    };
    rows.iter().filter_map(why).collect()
}

#[test]
fn without_a_fault_it_passes_as_a_server() {
    let rows = run(Role::Server, &[], &[], 5000);
    assert_eq!(failures(&rows), [""; 0]);
    assert!(rows.len() > 120);
}

#[test]
fn without_a_fault_it_passes_as_a_client() {
    let rows = run(Role::Client, &[], &[], 5000);
    assert_eq!(failures(&rows), [""; 0]);
    assert!(rows.len() > 120);
}

/// Rules that the endpoint overlooks in what it hears: a case of each must show it.
const OVERLOOKED: [&str; 21] = [
    "W1.2", "W2.1", "W3.1", "W3.2", "W3.4", "W4.2", "W5.1", "W5.2", "W5.3", "W6.1", "W6.2", "W7.1",
    "W8.1", "W10.3", "W11.1", "W12.2", "W12.4", "W13.1", "W13.2", "W13.4", "W14.1",
];

/// What the endpoint does wrong itself, and the rules whose cases show it.
const WRONG: [(Role, &str, &[&str]); 61] = [
    (Server, "W2.2", &["W2.6"]),
    (Client, "W2.2", &["W2.7"]),
    (Server, "speaks first", &["W2.3"]),
    (Server, "waits for the settings", &["W2.4"]),
    (Server, "another magic", &["W2.2"]),
    (Client, "another magic", &["W2.2"]),
    (Server, "silent to strangers", &["W8.2", "W2.1"]),
    (Server, "GOAWAY to version 0", &["W8.2"]),
    (Server, "code 1 in the hello", &["W2.7"]),
    (Client, "code 1 in the hello", &["W2.7"]),
    (Server, "no empty settings", &["W3.2"]),
    (Client, "no unknown settings", &["W3.3"]),
    (Server, "forgets what is cut", &["W1.3"]),
    (Server, "waits for the body", &["W1.6", "W7.1"]),
    (Server, "knows no skipped ops", &["W4.1"]),
    (Server, "few no-op frames", &["W18.2"]),
    (Client, "few PINGs", &["W18.2"]),
    (Server, "no PONG", &["W9.1"]),
    (Server, "another token", &["W9.1"]),
    (Server, "odd PONG is fatal", &["W18.4"]),
    (Server, "a second DRAIN is fatal", &["W18.4"]),
    (Server, "opens behind a drain", &["W9.4"]),
    (Client, "opens behind a drain", &["W9.4"]),
    (Server, "a drain ends channels", &["W9.5"]),
    (Client, "opens other numbers", &["W13.1"]),
    (Server, "mixes up channels", &["W13.1"]),
    (Server, "changes bytes", &["W13.1"]),
    (Server, "no MAX_CHANNELS", &["W16.3"]),
    (Server, "high counts", &["W16.3"]),
    (Server, "low counts", &["W16.3"]),
    (Server, "low counts are fatal", &["W16.1"]),
    (Server, "no FIN", &["W14.1"]),
    (Server, "forgets bytes before a FIN", &["W14.2"]),
    (Server, "ignores RESET", &["W14.2"]),
    (Server, "ignores STOP", &["W14.3"]),
    (Server, "another code in a RESET", &["W14.3"]),
    (Server, "answers as a refusal", &["W14.3"]),
    (Server, "ends twice", &["W14.1"]),
    (Server, "DATA behind the FIN", &["W14.1"]),
    (Server, "stops twice", &["W18.4"]),
    (Client, "crossing frames are fatal", &["W14.4"]),
    (Client, "W15.3", &["W15.3"]),
    (Server, "ignores the limit", &["W10.3"]),
    (Server, "borrows too much", &["W10.3"]),
    (Server, "ignores WINDOWs", &["W10.1"]),
    (Server, "no window", &["W11.3"]),
    (Server, "late windows", &["W11.3"]),
    (Server, "small windows", &["W11"]),
    (Client, "large windows", &["W11.3"]),
    (Server, "counts bytes that have not come", &["W11.2"]),
    (Server, "says no debt", &["W12.1"]),
    (Server, "no RETURN", &["W12.5"]),
    (Server, "returns too much", &["W12.5"]),
    (Server, "no GOAWAY", &["W17.3"]),
    (Server, "last is 0", &["W17.5"]),
    (Server, "last is too high", &["W17.4"]),
    (Server, "speaks behind the GOAWAY", &["W17.3"]),
    (Server, "stays open", &["W17.3"]),
    (Server, "closes at once", &["W17.1"]),
    (Client, "answers a GOAWAY", &["W17.2"]),
    (Server, "ignores the end of the stream", &["W17.6"]),
];

#[test]
fn each_fault_is_caught() {
    let overlooked = OVERLOOKED.iter().map(|rule| (Server, *rule, vec![*rule]));
    let wrong = WRONG
        .iter()
        .map(|(role, fault, rules)| (*role, *fault, rules.to_vec()));
    let all: Vec<_> = overlooked.chain(wrong).collect();
    // Most of the time they wait for what does not come.
    let next = AtomicUsize::new(0);
    let missed = std::thread::scope(|scope| {
        let work = || {
            let mut missed = Vec::new();
            while let Some((role, fault, rules)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                // A machine that stalls may hide a fault that shows in time.
                let caught = || !failures(&run(*role, &[fault], rules, 400)).is_empty();
                if !(0..3).any(|_| caught()) {
                    missed.push(format!("{role:?}: {fault}"));
                }
            }
            missed
        };
        let workers: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        let missed = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        missed.collect::<Vec<String>>()
    });
    assert_eq!(missed, [""; 0]);
}
