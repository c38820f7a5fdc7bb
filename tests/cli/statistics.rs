//! `--stats`.

use crate::fixture::{Chain, exchange, reset};

#[tokio::test]
async fn the_last_statistics_tell_what_was_done() {
    let chain = Chain::with("--stats", "--stats=3600").await;
    let (client, service) = chain.connect_and_talk().await;
    drop((client, service));
    let (client, service) = chain.connect_and_talk().await;
    reset(service);
    drop(client);
    drop(chain.service);
    exchange(chain.relay.addr, b"!").await.unwrap_err();
    chain.relay.signal("TERM").await;
    let (code, relay) = chain.relay.ended().await;
    assert_eq!(code, Some(0));
    chain.serve.signal("TERM").await;
    let (_, serve) = chain.serve.ended().await;
    let last = |printed: &str, what: &str| {
        let line = printed.lines().rfind(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("{printed}")).to_owned()
    };
    let relayed = last(&relay, "relay live=0 total=3 refused=1 cut=1");
    assert!(relayed.contains("tcp_sent=2"), "{relayed}");
    let target = last(&relay, "relay target=");
    assert!(target.contains(" connections=1 rtt_ms="), "{target}");
    let served = last(&serve, "serve live=0 total=3 refused=1 cut=1");
    assert!(served.contains("tcp_received=2"), "{served}");
    last(&serve, "state=down live=0");
}

#[tokio::test]
async fn statistics_come_again_and_again() {
    let mut chain = Chain::with("--stats=0.01", "").await;
    let (_client, _service) = chain.connect_and_talk().await;
    for _ in 0..3 {
        chain.relay.prints("relay live=1 total=1").await;
    }
}
