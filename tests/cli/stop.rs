//! The end by a signal.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Chain, echo, exchange, talk};
use crate::guard::within;
use crate::programs::Daemon;

async fn stop(daemon: &mut Daemon) {
    daemon.signal("TERM").await;
    daemon.says("stopping").await;
}

#[tokio::test]
async fn a_relay_that_is_stopped_lets_its_clients_finish() {
    let mut chain = Chain::new().await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    stop(&mut chain.relay).await;
    assert!(TcpStream::connect(chain.relay.addr).await.is_err());
    talk(&mut client, &mut service).await;
    client.write_all(b"last").await.unwrap();
    drop(client);
    let mut got = Vec::new();
    within(service.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"last");
    drop(service);
    assert_eq!(chain.relay.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_serve_that_is_stopped_lets_its_channels_finish() {
    let mut chain = Chain::new().await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    stop(&mut chain.serve).await;
    talk(&mut client, &mut service).await;
    service.write_all(b"last").await.unwrap();
    drop(service);
    let mut got = Vec::new();
    within(client.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"last");
    drop(client);
    assert_eq!(chain.serve.ended().await.0, Some(0));
}

#[tokio::test]
async fn what_a_relay_took_before_its_end_arrives() {
    let mut chain = Chain::new().await;
    let (mut client, mut service) = chain.connect().await;
    service.shutdown().await.unwrap();
    assert_eq!(within(client.read(&mut [0])).await.unwrap(), 0);
    stop(&mut chain.relay).await;
    let bytes = vec![1; 1 << 20];
    client.write_all(&bytes).await.unwrap();
    drop(client);
    assert_eq!(chain.relay.ended().await.0, Some(0));
    let mut got = Vec::new();
    within(service.read_to_end(&mut got)).await.unwrap();
    assert!(got == bytes);
}

#[tokio::test]
async fn what_is_left_at_the_end_of_the_grace_is_cut_off() {
    for stops_relay in [true, false] {
        let chain = Chain::with("--grace 0.2", "--grace 0.2").await;
        let (mut client, mut service) = chain.connect_and_talk().await;
        let stopped = match stops_relay {
            true => chain.relay,
            false => chain.serve,
        };
        stopped.signal("TERM").await;
        for side in [&mut client, &mut service] {
            let error = within(side.read_u8()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(stopped.ended().await.0, Some(3));
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_grace() {
    for stops_relay in [true, false] {
        let chain = Chain::with("--grace 3600", "--grace 3600").await;
        let (_client, _service) = chain.connect_and_talk().await;
        let mut stopped = match stops_relay {
            true => chain.relay,
            false => chain.serve,
        };
        stop(&mut stopped).await;
        stopped.signal("INT").await;
        assert_eq!(stopped.ended().await.0, Some(3));
    }
}

#[tokio::test]
async fn with_nothing_to_carry_the_end_is_at_once() {
    let serve = Daemon::serve(echo().await).await;
    let relay = Daemon::relay(serve.addr).await;
    exchange(relay.addr, b"!").await.unwrap();
    let start = Instant::now();
    relay.signal("TERM").await;
    assert_eq!(relay.ended().await.0, Some(0));
    serve.signal("TERM").await;
    assert_eq!(serve.ended().await.0, Some(0));
    assert!(start.elapsed() < Duration::from_secs(20)); // less than the grace
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let service = echo().await;
    let mut serve = Daemon::serve(service).await;
    let place = serve.addr.to_string();
    let relay = Daemon::relay(serve.addr).await;
    for _ in 0..3 {
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
        serve.signal("TERM").await;
        assert_eq!(serve.ended().await.0, Some(0));
        serve = Daemon::at(&place, &format!("serve --to {service}")).await;
    }
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
}

/// A host that hangs closes no connection.
#[tokio::test]
async fn where_all_was_carried_a_silent_peer_is_no_reason_for_exit_code_3() {
    for stops_relay in [true, false] {
        let serve = Daemon::start(&format!("serve --grace 0.5 --to {}", echo().await)).await;
        let relay = Daemon::start(&format!("relay --grace 0.5 --to {}", serve.addr)).await;
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
        tokio::time::sleep(Duration::from_millis(200)).await; // the ends have arrived
        let (stopped, hangs) = match stops_relay {
            true => (relay, serve),
            false => (serve, relay),
        };
        hangs.signal("STOP").await;
        stopped.signal("TERM").await;
        assert_eq!(stopped.ended().await.0, Some(0), "relay: {stops_relay}");
    }
}

#[tokio::test]
async fn what_a_silent_peer_has_not_taken_is_cut_off() {
    for stops_relay in [true, false] {
        let chain = Chain::with("--grace 0.5", "--grace 0.5").await;
        let (mut client, mut service) = chain.connect_and_talk().await;
        let (stopped, hangs) = match stops_relay {
            true => (chain.relay, chain.serve),
            false => (chain.serve, chain.relay),
        };
        hangs.signal("STOP").await;
        tokio::time::sleep(Duration::from_millis(100)).await; // each of its threads
        for side in [&mut client, &mut service] {
            side.write_all(&[1; 1000]).await.unwrap();
            side.shutdown().await.unwrap();
        }
        stopped.signal("TERM").await;
        assert_eq!(stopped.ended().await.0, Some(3), "relay: {stops_relay}");
    }
}
