//! `tcpchan top`.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::fixture::Chain;
use crate::guard::within;
use crate::programs::tcpchan;

async fn chain() -> (Chain, SocketAddr) {
    let mut chain = Chain::with("--admin 127.0.0.1:0", "").await;
    let admin = chain.relay.admin().await;
    (chain, admin)
}

async fn once(admin: SocketAddr, columns: &str) -> String {
    let mut top = tcpchan(&format!("top --admin {admin} --once -i 0.01"));
    let output = within(top.env("COLUMNS", columns).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn in_a_pipe_it_prints_what_it_sees_and_ends() {
    let (chain, admin) = chain().await;
    let _streams = chain.connect_and_talk().await;
    let printed = once(admin, "120").await;
    let has = |what: &str| assert!(printed.contains(what), "{what} in:\n{printed}");
    has(&format!("relay on {}", chain.relay.addr));
    has("streams: 1 open, 0 finished, 0 refused, 0 cut off");
    has(&format!("target {} is up, 1 streams", chain.serve.addr));
    let row = printed
        .lines()
        .find(|line| line.starts_with(&chain.serve.addr.to_string()));
    let words: Vec<&str> = row.expect("a connection").split_whitespace().collect();
    assert_eq!(words[1], "up");
    assert!(!printed.contains('\x1b'), "{printed:?}");
}

#[tokio::test]
async fn a_narrow_terminal_has_fewer_columns() {
    let (chain, admin) = chain().await;
    let _streams = chain.connect_and_talk().await;
    for width in [20, 40, 60, 80, 120] {
        let printed = once(admin, &width.to_string()).await;
        let widest = printed.lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= width.max(24), "{width}:\n{printed}");
        assert!(printed.contains("PEER"), "{width}:\n{printed}");
    }
    assert!(once(admin, "120").await.contains("SENT"));
    assert!(!once(admin, "40").await.contains("SENT"));
}

#[tokio::test]
async fn who_is_not_there_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let output = within(tcpchan(&format!("top --admin {addr} --once")).output());
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with(&format!("tcpchan: {addr}: Connection refused")),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn what_another_server_says_does_not_move_the_cursor() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = other.local_addr().unwrap();
    let top = tcpchan(&format!("top --admin {addr} --once")).output();
    let (output, ()) = tokio::join!(within(top), async {
        let (mut client, _) = within(other.accept()).await.unwrap();
        let text = "\x1b]0;owned\x07\x1b[2J\nand more";
        let head = format!("HTTP/1.1 404 \r\ncontent-length: {}\r\n\r\n", text.len());
        let answer = format!("{head}{text}");
        client.read_u8().await.unwrap();
        client.write_all(answer.as_bytes()).await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    });
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains("404"), "{said}");
    assert!(!said.trim_end().contains(char::is_control), "{said:?}");
}

/// The command in a pseudo-terminal of 80 columns, between two looks at the terminal's state.
///
/// Ctrl-C is a signal to the shell, too. It has a trap, because dash would end by it.
fn in_a_terminal(admin: SocketAddr) -> Child {
    let command = env!("CARGO_BIN_EXE_tcpchan");
    let script = format!(
        "trap : INT; stty cols 80 rows 24; echo \"before=$(stty -g)\"; \
         {command} top --admin {admin} -i 0.05; echo \"code=$?\"; echo \"after=$(stty -g)\""
    );
    Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env("SHELL", "/bin/sh") // script runs it; bash and dash differ
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script, of util-linux")
}

/// Reads until all of this has been seen.
async fn shows(terminal: &mut Child, seen: &mut String, what: &str) {
    let out = terminal.stdout.as_mut().unwrap();
    let mut bytes = [0; 4096];
    while !seen.contains(what) {
        let read = within(out.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "{what} in:\n{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

/// Ends by these keys, and leaves the terminal as it was.
async fn quits_by(keys: &[u8]) {
    let (chain, admin) = chain().await;
    let streams = chain.connect_and_talk().await;
    let mut terminal = in_a_terminal(admin);
    let mut seen = String::new();
    shows(&mut terminal, &mut seen, "\x1b[?1049h").await;
    shows(&mut terminal, &mut seen, ", 1 streams").await;
    drop(streams);
    shows(&mut terminal, &mut seen, ", 0 streams").await;
    let stdin = terminal.stdin.as_mut().unwrap();
    stdin.write_all(keys).await.unwrap();
    shows(&mut terminal, &mut seen, "code=").await;
    shows(&mut terminal, &mut seen, "after=").await;
    let mut rest = String::new();
    let out = terminal.stdout.as_mut().unwrap();
    within(out.read_to_string(&mut rest)).await.unwrap();
    seen += &rest;
    assert!(seen.contains("code=0"), "{seen}");
    assert!(seen.contains("\x1b[?25h\x1b[?1049l"), "{seen:?}");
    let state = |name: &str| {
        let line = seen.lines().find_map(|line| line.split_once(name));
        line.expect("a state").1.trim().to_owned()
    };
    assert_eq!(state("before="), state("after="));
}

#[tokio::test]
async fn in_a_terminal_it_follows_and_q_leaves_all_as_it_was() {
    quits_by(b"q").await;
}

#[tokio::test]
async fn in_a_terminal_ctrl_c_leaves_all_as_it_was() {
    quits_by(b"\x03").await;
}
