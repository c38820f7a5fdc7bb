//! Packets vanish and nobody is told: new work goes elsewhere within the time
//! for suspicion, and what is on the dead connection fails within its time.
#![cfg(feature = "client")]

#[path = "support/guard.rs"]
mod guard;
#[path = "support/local.rs"]
mod local;
#[path = "support/proxy.rs"]
mod proxy;

use std::io::ErrorKind;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::Service;

use guard::within;
use local::{Net, Way, open, ping};
use proxy::{Fault, Proxy};

/// Defaults: a ping a second after the last byte, suspect 2 s later, dead
/// 20 s after the ping.
const PROBE: Duration = Duration::from_secs(1);
const SUSPECT: Duration = Duration::from_secs(2);
const DEAD: Duration = Duration::from_secs(20);
const SLACK: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn a_replacement_takes_new_channels_within_the_suspect_time() {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone());
    let mut channel = open(&multiplex).await.unwrap();
    ping(&mut channel).await.unwrap();
    net.black_hole();
    let start = Instant::now();
    let stuck = tokio::spawn(async move { ping(&mut channel).await });
    tokio::time::sleep(PROBE + SUSPECT + SLACK).await;
    let mut fresh = open(&multiplex).await.unwrap();
    ping(&mut fresh).await.unwrap();
    assert!(start.elapsed() <= PROBE + SUSPECT + 2 * SLACK);
    assert_eq!(net.dials().len(), 2, "the replacement was dialled ahead");
    assert!(!stuck.is_finished());
}

#[tokio::test(start_paused = true)]
async fn what_is_on_the_dead_connection_fails_within_the_dead_time() {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone());
    let mut channel = open(&multiplex).await.unwrap();
    ping(&mut channel).await.unwrap();
    net.black_hole();
    let start = Instant::now();
    let error = ping(&mut channel).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(
        start.elapsed() <= PROBE + DEAD + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_died_is_replaced_before_it_is_needed() {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone());
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    net.black_hole();
    tokio::time::sleep(Duration::from_secs(15) + SUSPECT + SLACK).await;
    assert_eq!(net.dials().len(), 2);
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_the_hello_gets_no_channels_for_long() {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone());
    net.set(Way::Silent);
    let mut stuck = open(&multiplex).await.unwrap();
    net.set(Way::Up);
    tokio::time::sleep(SUSPECT + SLACK).await;
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    assert!(ping(&mut stuck).await.is_err());
}

/// The same over real TCP.
#[tokio::test]
async fn over_tcp_new_channels_work_while_the_old_still_wait_and_then_fail() {
    let config = Config::default().ping_after(Duration::from_millis(100));
    let (suspect, dead) = (Duration::from_millis(200), Duration::from_secs(2));
    let config = config.unwrap().answer_within(suspect, dead).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut acceptor = Acceptor::new(listener, Config::default());
    let proxy = Proxy::start(acceptor.local_addr().unwrap(), None).await;
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            tokio::spawn(async move {
                let (mut reader, mut writer) = channel.into_split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    let multiplex = Multiplex::new(HttpConnector::new()).with_config(config);
    let uri: hyper::Uri = format!("http://{}/", proxy.addr).parse().unwrap();
    let open = || multiplex.clone().call(uri.clone());
    let mut old: Vec<Channel> = Vec::new();
    for _ in 0..5 {
        let mut channel = within(open()).await.unwrap();
        within(ping(&mut channel)).await.unwrap();
        old.push(channel);
    }
    assert!(proxy.hurt(Fault::Silence));
    let mut stuck = tokio::task::JoinSet::new();
    for mut channel in old {
        stuck.spawn(async move { channel.read_u8().await });
    }
    // What is opened before anybody can know is stuck too, so: try on.
    let replaced = async {
        while proxy.accepted() < 2 {
            let mut channel = open().await.unwrap();
            let _ = tokio::time::timeout(suspect, ping(&mut channel)).await;
        }
        ping(&mut open().await.unwrap()).await.unwrap();
    };
    within(replaced).await;
    assert_eq!(stuck.len(), 5);
    assert!(stuck.try_join_next().is_none(), "the old ones still wait");
    for result in within(stuck.join_all()).await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
