//! Packets vanish and nobody is told: new work goes elsewhere within the time
//! for suspicion, and what is on the dead connection fails within its time.
#![cfg(feature = "client")]

use std::io::ErrorKind;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::Service;

use crate::guard::within;
use crate::local::{Net, Way, echo_all, open, ping};
use crate::proxy::{Fault, Proxy};

/// Defaults: a ping a second after the last byte, suspect 2 s later, dead
/// 20 s after the ping.
const PROBE: Duration = Duration::from_secs(1);
const SUSPECT: Duration = Duration::from_secs(2);
const DEAD: Duration = Duration::from_secs(20);
const SLACK: Duration = Duration::from_millis(50);

/// A net that has lost its one connection, which had answered on this channel.
async fn black_hole() -> (Net, Multiplex<Net>, Channel) {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone());
    let mut channel = open(&multiplex).await.unwrap();
    ping(&mut channel).await.unwrap();
    net.black_hole();
    (net, multiplex, channel)
}

fn assert_dead_in_time(start: Instant) {
    let took = start.elapsed();
    assert!(took <= PROBE + DEAD + SLACK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_takes_new_channels_within_the_suspect_time() {
    let (net, multiplex, mut channel) = black_hole().await;
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
    let (_net, _multiplex, mut channel) = black_hole().await;
    let start = Instant::now();
    let error = ping(&mut channel).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_dead_in_time(start);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_died_is_replaced_before_it_is_needed() {
    let (net, multiplex, _) = black_hole().await;
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

/// Channels that write until the transport takes no more; each ends with its
/// error.
async fn upload(multiplex: &Multiplex<Net>) -> JoinSet<std::io::Error> {
    let mut uploads = JoinSet::new();
    for _ in 0..20 {
        let mut channel = open(multiplex).await.unwrap();
        uploads.spawn(async move {
            loop {
                if let Err(error) = channel.write_all(&[7; 16 << 10]).await {
                    return error;
                }
            }
        });
    }
    uploads
}

/// The ping can't leave, and the black hole is noticed as soon.
#[tokio::test(start_paused = true)]
async fn uploads_that_fill_the_transport_fail_within_the_dead_time() {
    let (net, multiplex, _) = black_hole().await;
    let start = Instant::now();
    let mut uploads = upload(&multiplex).await;
    tokio::time::sleep(PROBE + SUSPECT + SLACK).await;
    assert_eq!(net.dials().len(), 2, "the replacement was dialled ahead");
    while let Some(error) = uploads.join_next().await {
        assert_eq!(error.unwrap().kind(), ErrorKind::TimedOut);
        assert_dead_in_time(start);
    }
}

/// Nothing is ever heard of it but that the transport takes bytes.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_bytes_slowly_is_neither_suspect_nor_dead() {
    let net = Net::new(Config::default());
    let pool = PoolConfig::default().connections(1..=1).unwrap();
    let multiplex = Multiplex::new(net.clone()).with_pool(pool);
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    net.slow(10 << 10);
    let mut uploads = upload(&multiplex).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(uploads.try_join_next().is_none());
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn readers_writers_and_opens_all_fail_with_their_connection() {
    let mut net = Net::new(Config::default().max_channels(256).unwrap());
    let stream = net.call(Uri::from_static("http://here/")).await.unwrap();
    let client = Connection::client(stream.into_inner(), Config::default());
    let mut channels = Vec::new();
    for _ in 0..256 {
        channels.push(client.open().await.unwrap());
    }
    ping(&mut channels[0]).await.unwrap();
    net.black_hole();
    let start = Instant::now();
    let (mut reader, mut writer) = (channels.remove(0), channels.remove(0));
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { reader.read_u8().await.map(drop) });
    waiting.spawn(async move { writer.write_all(&[7; 1 << 20]).await });
    waiting.spawn(async move { client.open().await.map(drop) });
    for result in waiting.join_all().await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
    }
    assert_dead_in_time(start);
}

/// The same over real TCP.
#[tokio::test]
async fn over_tcp_new_channels_work_while_the_old_still_wait_and_then_fail() {
    let config = Config::default().ping_after(Duration::from_millis(100));
    let (suspect, dead) = (Duration::from_millis(200), Duration::from_secs(2));
    let config = config.unwrap().answer_within(suspect, dead).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let proxy = Proxy::start(acceptor.local_addr().unwrap(), None).await;
    tokio::spawn(echo_all(acceptor));
    let multiplex = Multiplex::new(HttpConnector::new()).with_config(config);
    let uri: Uri = format!("http://{}/", proxy.addr).parse().unwrap();
    let open = || multiplex.clone().call(uri.clone());
    let mut old: Vec<Channel> = Vec::new();
    for _ in 0..5 {
        let mut channel = within(open()).await.unwrap();
        within(ping(&mut channel)).await.unwrap();
        old.push(channel);
    }
    assert!(proxy.hurt(Fault::Silence));
    let mut stuck = JoinSet::new();
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
