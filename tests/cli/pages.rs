//! What packages of the command ship, and what it says of its version.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use crate::guard::within;
use crate::programs::{run, tcpchan};

async fn out(args: &str) -> String {
    let output = tcpchan(args).output().await.unwrap();
    assert!(output.status.success(), "{args}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn each_shell_completes_the_options_of_a_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&format!("completions {shell}")).await;
        assert!(script.contains("client-fin-timeout"), "{shell}: {script}");
    }
}

#[tokio::test]
async fn bash_completes_a_word() {
    let script = out("completions bash").await;
    let ask = "COMP_WORDS=(tcpchan relay --max); COMP_CWORD=2; \
               _tcpchan tcpchan --max relay; echo \"got ${COMPREPLY[*]}\"";
    let mut bash = tokio::process::Command::new("bash");
    let piped = bash.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut bash = piped.kill_on_drop(true).spawn().unwrap();
    let mut stdin = bash.stdin.take().unwrap();
    let script = format!("{script}\n{ask}\n");
    stdin.write_all(script.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within(bash.wait_with_output()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("got --max-clients"), "{said}");
}

#[tokio::test]
async fn the_pages_for_man_have_the_options_and_the_exit_codes() {
    let page = out("man").await;
    assert!(page.contains(".TH TCPCHAN 1"), "{page}");
    let page = out("man relay").await;
    for part in [
        ".TH TCPCHAN-RELAY 1",
        "client\\-fin\\-timeout",
        "Exit codes:",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let command = env!("CARGO_BIN_EXE_tcpchan");
    let output = run(command, ["man", "sing"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no command sing"), "{said}");
}

#[tokio::test]
async fn the_version_has_what_can_differ_between_builds() {
    let short = out("-V").await;
    assert_eq!(short.trim(), concat!("tcpchan ", env!("CARGO_PKG_VERSION")));
    let long = out("--version").await;
    assert!(long.starts_with(short.trim()), "{long}");
    assert!(long.contains("\nfeatures: client server tls"), "{long}");
}
