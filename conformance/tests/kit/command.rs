//! The program: its exit codes and its reports.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use tcpchan_conformance::echo::{self, Faults};

fn run(faults: &[&'static str], arguments: &[&str]) -> Output {
    let address = echo::serve(&Faults::new(faults)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_tcpchan-conformance"))
        .arg(address.to_string())
        .args(["--timeout", "500"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn it_says_that_all_passed_and_writes_reports() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let (junit, json) = (
        format!("{folder}/junit.xml"),
        format!("{folder}/report.json"),
    );
    let output = run(&[], &["--only", "W9.1", "--junit", &junit, "--json", &json]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("0 failed") && said.contains("W9.1"), "{said}");
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(
        junit.contains("failures=\"0\"") && junit.contains("<testcase"),
        "{junit}"
    );
    let json = std::fs::read_to_string(json).unwrap();
    assert!(json.contains("\"verdict\": \"passed\""), "{json}");
}

#[test]
fn a_failure_has_its_rule_and_exit_code_1() {
    let output = run(&["no PONG"], &["--only", "W9.1"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED  W9.1"), "{said}");
}

#[test]
fn a_should_that_is_not_kept_is_a_warning_unless_it_is_strict() {
    let fault = ["another code in a RESET"];
    let only = ["--only", "the RESET has the code"];
    let output = run(&fault, &only);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("1 warnings")
    );
    let strict = [&only[..], &["--strict"]].concat();
    assert_eq!(run(&fault, &strict).status.code(), Some(1));
}

#[test]
fn what_it_can_not_do_has_exit_code_2() {
    for arguments in [&["--wrong"][..], &["--only", "W99"]] {
        assert_eq!(run(&[], arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn it_listens_for_a_client() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tcpchan-conformance"))
        .args(["--listen", "127.0.0.1:0", "--only", "W9.1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(program.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("waiting for a client on ");
    echo::dial(
        address.expect("an address").parse().unwrap(),
        &Faults::default(),
    );
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("0 failed"), "{rest}");
}
