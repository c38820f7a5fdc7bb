//! The log on stderr.

use serde_json::Value;
use tokio::net::TcpListener;

use crate::fixture::{Chain, exchange};
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
