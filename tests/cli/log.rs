//! The log on stderr.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{Chain, exchange, reset};
use crate::guard::within;
use crate::programs::Daemon;

/// The lines that a daemon said up to its end by a signal.
async fn log(daemon: Daemon) -> Vec<String> {
    daemon.signal("TERM").await;
    daemon.said().await
}

fn json(lines: &[String]) -> Vec<Value> {
    let parsed = lines.iter().map(|line| serde_json::from_str(line));
    parsed.collect::<Result<_, _>>().unwrap()
}

fn with<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let found = lines.iter().find(|line| line["message"] == message);
    found.unwrap_or_else(|| panic!("{message} in {lines:?}"))
}

#[tokio::test]
async fn json_has_values_and_the_fields_of_the_spans_around() {
    let option = "--log-format json";
    let chain = Chain::with(option, option).await;
    let (_client, _service) = chain.connect_and_talk().await;
    drop((_client, _service));
    let relay = json(&log(chain.relay).await);
    let serve = json(&log(chain.serve).await);
    for line in relay.iter().chain(&serve) {
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(
            line["level"] == "info" && line["message"].is_string(),
            "{line}"
        );
        assert!(!line.to_string().contains("Some("), "{line}");
    }
    let near = with(&relay, "the connection is up");
    let far = with(&serve, "the connection is up");
    assert_eq!((&near["version"], &far["version"]), (&1.into(), &1.into()));
    assert!(near["rtt_ms"].as_f64().unwrap() > 0.0, "{near}");
    assert_eq!(near["server.address"], "127.0.0.1");
    assert_eq!(far["network.peer.address"], "127.0.0.1");
    assert_eq!(near["id"], far["id"]);
    let address = with(&serve, "listening")["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
}

#[tokio::test]
async fn text_has_a_field_for_each_value_and_quotes_what_has_spaces() {
    let chain = Chain::new().await;
    drop(chain.connect_and_talk().await);
    let lines = log(chain.relay).await;
    let has = |parts: &[&str]| {
        let line = lines.iter().find(|line| line.contains(parts[0]));
        let line = line.unwrap_or_else(|| panic!("{lines:?}"));
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    };
    let port = format!("server.port={}", chain.serve.addr.port());
    has(&["the connection is up", " INFO ", " version=1 ", &port]);
    has(&["the connection has ended", "error=\"the "]);
}

#[tokio::test]
async fn a_target_that_is_down_is_told_once_and_its_dials_at_debug() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    for (level, dials) in [("info", 0), ("debug", 1)] {
        let relay = Daemon::start(&format!("relay --to {addr} --log-level {level}")).await;
        exchange(relay.addr, b"!").await.unwrap_err();
        let lines = log(relay).await;
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count("the target is down"), 1, "{lines:?}");
        assert!(count("the dial failed") >= dials, "{lines:?}");
        assert_eq!(count("the dial failed") > 0, dials > 0, "{lines:?}");
    }
}

#[tokio::test]
async fn a_level_leaves_out_what_is_below() {
    let chain = Chain::with("--log-level info", "--log-level info").await;
    drop(chain.connect_and_talk().await);
    let lines = log(chain.serve).await;
    assert!(lines.iter().any(|line| line.contains("is up")), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains(" DEBUG ")),
        "{lines:?}"
    );
}

const STREAMS: &str = "--log-format json --log-streams";

/// The lines of streams, of which there is one for each.
fn streams(lines: &[Value]) -> Vec<&Value> {
    let of_streams = |line: &&Value| line["message"] == "the stream has ended";
    lines.iter().filter(of_streams).collect()
}

#[tokio::test]
async fn each_stream_is_a_line_at_both_ends_with_what_it_carried() {
    let chain = Chain::with(STREAMS, STREAMS).await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    client.write_all(b"more").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    within(service.read_to_end(&mut got)).await.unwrap();
    drop(service);
    within(client.read_to_end(&mut got)).await.unwrap();
    let from = client.local_addr().unwrap().to_string();
    let (server, to) = (chain.serve.addr, chain.service.local_addr().unwrap());
    let relay = json(&log(chain.relay).await);
    let serve = json(&log(chain.serve).await);
    let (near, far) = (streams(&relay), streams(&serve));
    assert_eq!((near.len(), far.len()), (1, 1), "{relay:?} {serve:?}");
    for (line, target) in [(near[0], server), (far[0], to)] {
        assert_eq!(
            (&line["level"], &line["end"]),
            (&"info".into(), &"finished".into())
        );
        assert_eq!(line["target"], target.to_string());
        assert_eq!(
            (&line["bytes_to_service"], &line["bytes_to_client"]),
            (&5.into(), &1.into())
        );
        assert!(line["seconds"].as_f64().unwrap() >= 0.0, "{line}");
        assert_eq!(line["error"], Value::Null);
    }
    assert_eq!(near[0]["client"], from);
    assert!(near[0]["channel"].is_u64() && near[0]["channel"] == far[0]["channel"]);
}

/// How the two ends say that a stream ended.
fn ends(lines: &[Value]) -> &Value {
    let streams = streams(lines);
    assert_eq!(streams.len(), 1, "{lines:?}");
    assert!(streams[0]["error"].is_string(), "{lines:?}");
    &streams[0]["end"]
}

#[tokio::test]
async fn a_reset_is_told_with_who_did_it() {
    for (by_client, end) in [(true, "client_reset"), (false, "service_reset")] {
        let chain = Chain::with(STREAMS, STREAMS).await;
        let (mut client, mut service) = chain.connect_and_talk().await;
        let (gone, other) = match by_client {
            true => (client, &mut service),
            false => (service, &mut client),
        };
        reset(gone);
        within(other.read_u8()).await.unwrap_err();
        let relay = json(&log(chain.relay).await);
        let serve = json(&log(chain.serve).await);
        assert_eq!((ends(&relay), ends(&serve)), (&end.into(), &end.into()));
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_off_says_why() {
    let chain = Chain::with(STREAMS, "").await;
    let (mut client, _service) = chain.connect_and_talk().await;
    chain.serve.kill().await;
    within(client.read_u8()).await.unwrap_err();
    let relay = json(&log(chain.relay).await);
    assert_eq!(ends(&relay), "cut_off");
}

#[tokio::test]
async fn a_stream_that_is_refused_is_one_line_and_a_warning() {
    let chain = Chain::with(STREAMS, STREAMS).await;
    drop(chain.service);
    exchange(chain.relay.addr, b"!").await.unwrap_err();
    for daemon in [chain.relay, chain.serve] {
        let lines = json(&log(daemon).await);
        assert_eq!(with(&lines, "refused a client")["level"], "warn");
        assert_eq!(streams(&lines).len(), 0, "{lines:?}");
    }
}

#[tokio::test]
async fn streams_are_no_lines_unless_that_is_asked_for() {
    let chain = Chain::with("--log-format json", "").await;
    drop(chain.connect_and_talk().await);
    assert_eq!(streams(&json(&log(chain.relay).await)).len(), 0);
}
