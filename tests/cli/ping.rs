//! `tcpchan ping`.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::fixture::echo;
use crate::guard::within;
use crate::programs::{Daemon, run, tcpchan};

async fn ping(args: &str) -> (String, String, Option<i32>) {
    let output: Output = within(tcpchan(&format!("ping {args}")).output())
        .await
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (stdout, stderr, output.status.code())
}

#[tokio::test]
async fn each_round_is_a_line_and_a_table_ends_it() {
    let serve = Daemon::serve(echo().await).await;
    let (printed, _, code) = ping(&format!("{} -c 3 -i 0.01", serve.addr)).await;
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = printed.lines().collect();
    for (index, line) in lines[..3].iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], (index + 1).to_string());
        assert_eq!(words[1], serve.addr.to_string());
        assert_eq!([words[2], words[5], words[8]], ["tcp", "hello", "channel"]);
        for time in [words[3], words[6], words[9]] {
            let time: f64 = time.parse().unwrap();
            assert!(time > 0.0 && time < 10_000.0, "{line}");
        }
    }
    assert_eq!(lines[3], "3 of 3 rounds answered");
    let head: Vec<&str> = lines[5].split_whitespace().collect();
    assert_eq!(head[..6], ["ms", "min", "p50", "p90", "p99", "max"]);
    for (line, name) in lines[6..].iter().zip(["tcp", "hello", "channel"]) {
        let (numbers, histogram) = line.split_once('|').expect("a histogram");
        let words: Vec<&str> = numbers.split_whitespace().collect();
        assert_eq!(words[0], name);
        let times: Vec<f64> = words[1..]
            .iter()
            .map(|time| time.parse().unwrap())
            .collect();
        assert_eq!(times.len(), 5, "{line}");
        assert!(times.is_sorted() && times[0] >= 0.0, "{line}");
        assert!(
            histogram.contains('█') && histogram.ends_with('|'),
            "{line}"
        );
    }
    assert_eq!(lines.len(), 9, "{printed}");
}

#[tokio::test]
async fn json_is_one_document_with_every_round() {
    let serve = Daemon::serve(echo().await).await;
    let (printed, _, code) = ping(&format!("{} -c 4 -i 0.01 --json", serve.addr)).await;
    assert_eq!(code, Some(0));
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(document["to"], serve.addr.to_string());
    assert_eq!(
        (&document["sent"], &document["answered"]),
        (&4.into(), &4.into())
    );
    assert_eq!(document["tls_ms"], Value::Null);
    assert_eq!(document["rounds"].as_array().unwrap().len(), 4);
    for part in ["tcp_ms", "hello_ms", "channel_ms"] {
        let of_rounds = document["rounds"].as_array().unwrap().iter();
        let mut times: Vec<f64> = of_rounds.map(|one| one[part].as_f64().unwrap()).collect();
        times.sort_by(f64::total_cmp);
        let spread = ["min", "p50", "p90", "p99", "max"].map(|key| &document[part][key]);
        let spread = spread.map(|time| time.as_f64().unwrap());
        assert_eq!(spread, [times[0], times[1], times[3], times[3], times[3]]);
    }
}

#[tokio::test]
async fn json_tells_of_rounds_that_failed_too() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let (printed, _, code) = ping(&format!("{addr} -c 1 --json")).await;
    assert_eq!(code, Some(1));
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(document["answered"], 0);
    assert_eq!(document["tcp_ms"], Value::Null);
    let error = document["rounds"][0]["error"].as_str().unwrap();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn ctrl_c_ends_it_with_what_was_measured() {
    let serve = Daemon::serve(echo().await).await;
    let mut ping = tcpchan(&format!("ping {} -c 1000 -i 3600", serve.addr));
    let mut child = ping.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within(lines.next_line()).await.unwrap().unwrap();
    assert!(first.starts_with("1  "), "{first}");
    let kill = format!("kill -INT {}", child.id().unwrap());
    assert!(run("sh", ["-c", &kill]).await.status.success());
    let next = within(lines.next_line()).await.unwrap().unwrap();
    assert_eq!(next, "1 of 1 rounds answered");
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
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
    for (args, waits) in [
        ("", "it took the connection and says nothing"),
        ("--tls", "TLS's handshake did not end"),
    ] {
        let args = format!("{addr} -c 2 -i 0.01 --timeout 0.1 {args}");
        let (printed, _, code) = ping(&args).await;
        let says = format!("no answer within 100ms: {waits}");
        assert_eq!(printed.matches(&says).count(), 2, "{printed}");
        assert_eq!(code, Some(1));
    }
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
