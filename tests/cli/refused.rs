//! Clients that can't be served: the log says why, and a target is called what it is.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::fixture::{Chain, echo, exchange};
use crate::guard::within;
use crate::programs::Daemon;

/// Leaves the process so many file descriptors.
fn leave(daemon: &Daemon, count: usize) {
    let id = daemon.id();
    let is_open = |number: &u64| std::fs::exists(format!("/proc/{id}/fd/{number}")).unwrap();
    let left = (0..).filter(|number| !is_open(number)).nth(count);
    let pid = Pid::from_raw(id as i32).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: left,
        maximum,
    };
    prlimit(Some(pid), Resource::Nofile, limit).unwrap();
}

/// The last line of the statistics that are printed from now on, at the end.
async fn last_target(daemon: Daemon) -> String {
    daemon.signal("TERM").await;
    let (_, printed) = daemon.ended().await;
    let target = printed.lines().rfind(|line| line.contains("target="));
    target.expect("a line of a target").to_owned()
}

#[tokio::test]
async fn a_serve_out_of_descriptors_does_not_call_its_service_down() {
    let mut chain = Chain::with("", "--stats").await;
    let (_client, _service) = chain.connect_and_talk().await;
    leave(&chain.serve, 0);
    exchange(chain.relay.addr, b"!").await.unwrap_err();
    chain.serve.says("refused a client").await;
    chain.relay.says("refused a client client=127.0.0.1").await;
    drop((_client, _service));
    let target = last_target(chain.serve).await;
    assert!(target.contains("state=up"), "{target}");
}

#[tokio::test]
async fn a_relay_out_of_descriptors_does_not_call_its_server_down() {
    let mut chain = Chain::with("--stats --grace 1", "").await;
    leave(&chain.relay, 1); // for the client
    exchange(chain.relay.addr, b"!").await.unwrap_err();
    chain.relay.says("Too many open files").await;
    let target = last_target(chain.relay).await;
    assert!(target.contains("state=up"), "{target}");
}

#[tokio::test]
async fn a_service_that_is_down_is_told_by_both_sides() {
    let mut chain = Chain::new().await;
    drop(chain.service);
    exchange(chain.relay.addr, b"!").await.unwrap_err();
    chain.serve.says("refused a client client=127.0.0.1").await;
    let server = chain.serve.addr;
    chain
        .relay
        .says(&format!("target={server} error=\"the server refused"))
        .await;
}

#[tokio::test]
async fn a_server_that_takes_no_more_streams_is_called_full() {
    let limits = getrlimit(Resource::Nofile);
    let current = limits.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limits }).unwrap();
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = service.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((tcp, _)) = service.accept().await {
            held.push(tcp);
        }
    });
    let serve = Daemon::start(&format!("serve --to {to} --max-channels 256")).await;
    let mut relay = Daemon::start(&format!("relay --to {} --stats --grace 0.1", serve.addr)).await;
    let mut clients = Vec::new();
    for _ in 0..1025 {
        clients.push(TcpStream::connect(relay.addr).await.unwrap());
    }
    relay.says("is full").await;
    relay.says("refused a client client=127.0.0.1").await;
    let (last, _, _) = within(futures_util::future::select_all(
        clients.iter_mut().map(|client| Box::pin(client.read_u8())),
    ))
    .await;
    last.unwrap_err();
    let target = last_target(relay).await;
    assert!(target.contains("state=full"), "{target}");
    held.abort();
}

/// Whether a server lets a second connection come.
async fn takes_a_second(options: &str) -> bool {
    let to = echo().await;
    let serve = Daemon::start(&format!("serve --to {to} {options}")).await;
    let _first = TcpStream::connect(serve.addr).await.unwrap();
    let relay = Daemon::start(&format!("relay --to {}", serve.addr)).await;
    exchange(relay.addr, b"!").await.is_ok()
}

#[tokio::test]
async fn connections_beyond_the_limits_are_refused_unless_they_are_exempt() {
    for options in ["--max-connections 1", "--max-per-network 1"] {
        assert!(!takes_a_second(options).await, "{options}");
    }
    for options in [
        "",
        "--max-per-network 1 --exempt 127.0.0.1",
        "--max-per-network 1 --exempt 10.0.0.1 --exempt 127.0.0.0/8",
    ] {
        assert!(takes_a_second(options).await, "{options}");
    }
}

#[tokio::test]
async fn a_low_limit_of_open_files_is_raised_as_far_as_the_system_allows() {
    let serve = Daemon::start(&format!("serve --to {}", echo().await)).await;
    let script = r#"ulimit -Sn 64; exec "$0" "$@""#;
    let program = env!("CARGO_BIN_EXE_tcpchan");
    let mut command = Command::new("sh");
    command.args(["-c", script, program, "relay", "--listen", "127.0.0.1:0"]);
    command
        .args(["--to", &serve.addr.to_string()])
        .kill_on_drop(true);
    let mut relay = Daemon::spawn(&mut command);
    let addr = relay.listens("").await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"!").await.unwrap();
        assert_eq!(within(client.read_u8()).await.unwrap(), b'!');
        clients.push(client);
    }
}
