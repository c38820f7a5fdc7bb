//! `tcpchan ping`.

use std::process::Output;

use tokio::net::TcpListener;

use crate::fixture::echo;
use crate::guard::within;
use crate::programs::{Daemon, tcpchan};

async fn ping(args: &str) -> (String, String, Option<i32>) {
    let output: Output = within(tcpchan(&format!("ping {args}")).output())
        .await
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (stdout, stderr, output.status.code())
}

#[tokio::test]
async fn each_round_tells_three_times() {
    let serve = Daemon::serve(echo().await).await;
    let (printed, _, code) = ping(&format!("{} -c 3 -i 0.01", serve.addr)).await;
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    for line in &lines[..3] {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], serve.addr.to_string());
        assert_eq!(
            [words[1], words[4], words[7]],
            ["link", "set-up", "channel"]
        );
        for time in [words[2], words[5], words[8]] {
            let time: f64 = time.parse().unwrap();
            assert!(time > 0.0 && time < 10_000.0, "{line}");
        }
    }
    assert!(lines[3].starts_with("least, median, most:"), "{printed}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let serve = Daemon::serve(addr).await;
    let (printed, said, code) = ping(&format!("{} -c 1", serve.addr)).await;
    assert!(printed.contains("refused the channel"), "{printed}");
    assert_eq!(
        (said.trim(), code),
        ("tcpchan: 0 of 1 rounds were answered", Some(1))
    );
    let (printed, _, code) = ping(&format!("{addr} -c 1")).await;
    assert!(printed.contains("Connection refused"), "{printed}");
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn a_peer_that_says_nothing_has_its_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let (printed, _, code) = ping(&format!("{addr} -c 2 -i 0.01 --timeout 0.1")).await;
    assert_eq!(
        printed.matches("no answer within 100ms").count(),
        2,
        "{printed}"
    );
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn a_serve_that_expects_a_header_is_pinged_with_one() {
    let to = echo().await;
    let serve = Daemon::start(&format!("serve --to {to} --accept-proxy")).await;
    let (printed, _, code) = ping(&format!("{} -c 1", serve.addr)).await;
    assert!(printed.contains("reset the channel"), "{printed}");
    assert_eq!(code, Some(1));
    let (printed, _, code) = ping(&format!("{} -c 1 --send-proxy-v2", serve.addr)).await;
    assert_eq!(code, Some(0), "{printed}");
}
