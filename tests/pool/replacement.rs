//! How many connections a target has, and when they are replaced.
#![cfg(feature = "client")]

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use hyper::Uri;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::{Channel, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::local::{Net, Way, open, ping};

const MINUTE: Duration = Duration::from_secs(60);

fn with(pool: PoolConfig) -> (Net, Multiplex<Net>) {
    let net = Net::new(Config::default());
    (net.clone(), Multiplex::new(net).with_pool(pool))
}

async fn opened(multiplex: &Multiplex<Net>, count: usize) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..count {
        let mut channel = open(multiplex).await.unwrap();
        ping(&mut channel).await.unwrap();
        channels.push(channel);
        sleep(Duration::from_millis(2)).await; // a dial takes 1 ms
    }
    channels
}

#[tokio::test(start_paused = true)]
async fn a_target_has_one_connection_until_the_load_asks_for_another() {
    let pool = PoolConfig::default().target_concurrency(10).unwrap();
    let (net, multiplex) = with(pool.connections(1..=3).unwrap());
    let mut held = opened(&multiplex, 9).await;
    assert_eq!(net.dials().len(), 1);
    held.extend(opened(&multiplex, 30).await);
    assert_eq!(net.dials().len(), 3);
    held.extend(opened(&multiplex, 100).await);
    assert_eq!(net.dials().len(), 3);
}

/// Opens so many channels at once, with a target that has no connection yet.
async fn burst(multiplex: &Multiplex<Net>, count: usize) -> Vec<Channel> {
    let opens = (0..count).map(|_| open(multiplex));
    let opened = futures_util::future::join_all(opens).await;
    opened.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cold_burst_is_shared_by_the_connections_that_are_dialled_for_it() {
    let (_, multiplex) = with(PoolConfig::default().connections(4..=4).unwrap());
    let _held = burst(&multiplex, 40).await;
    let stats = &multiplex.stats()[0];
    let channels: Vec<usize> = stats.connections.iter().map(|c| c.channels).collect();
    assert_eq!(channels, [10, 10, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_cold_burst_does_not_wait_for_a_dial_that_takes_much_longer() {
    let (net, multiplex) = with(PoolConfig::default().connections(2..=2).unwrap());
    net.takes_next(&[Duration::from_millis(80), Duration::from_secs(3)]);
    let start = tokio::time::Instant::now();
    let _held = burst(&multiplex, 40).await;
    assert!(start.elapsed() <= Duration::from_millis(91));
}

#[tokio::test(start_paused = true)]
async fn new_channels_go_to_the_least_loaded_connection() {
    let (_, multiplex) = with(PoolConfig::default().connections(4..=4).unwrap());
    opened(&multiplex, 1).await;
    sleep(Duration::from_secs(1)).await;
    let _held = opened(&multiplex, 100).await;
    let stats = &multiplex.stats()[0];
    let channels: Vec<usize> = stats.connections.iter().map(|c| c.channels).collect();
    assert_eq!(channels, [25, 25, 25, 25]);
}

#[tokio::test(start_paused = true)]
async fn a_full_connection_makes_another_be_dialled() {
    let net = Net::new(Config::default().max_channels(256).unwrap());
    let pool = PoolConfig::default().target_concurrency(1000).unwrap();
    let multiplex = Multiplex::new(net.clone()).with_pool(pool);
    let _held = opened(&multiplex, 257).await;
    assert_eq!(net.dials().len(), 2);
}

/// 500 callers for 256 places, who come again at once.
#[tokio::test(start_paused = true)]
async fn nobody_waits_while_others_are_served_again_and_again() {
    let net = Net::new(Config::default().max_channels(256).unwrap());
    let pool = PoolConfig::default().connections(1..=1).unwrap();
    let multiplex = Multiplex::new(net).with_pool(pool);
    opened(&multiplex, 1).await;
    let served = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..500 {
        let (multiplex, served) = (multiplex.clone(), served.clone());
        callers.spawn(async move {
            let mut most = 0;
            for _ in 0..40 {
                let before = served.load(SeqCst);
                let mut channel = open(&multiplex).await.unwrap();
                most = most.max(served.fetch_add(1, SeqCst) - before);
                ping(&mut channel).await.unwrap();
            }
            most
        });
    }
    let most = callers.join_all().await.into_iter().max().unwrap();
    assert!(most < 1500, "{most} others were served while one waited");
}

#[tokio::test(start_paused = true)]
async fn connections_that_only_a_busy_time_needed_go_again() {
    let pool = PoolConfig::default().target_concurrency(10).unwrap();
    let pool = pool.idle_timeout(MINUTE).unwrap();
    let (net, multiplex) = with(pool.max_age(None).unwrap());
    drop(opened(&multiplex, 100).await);
    for _ in 0..60 {
        sleep(Duration::from_secs(5)).await;
        opened(&multiplex, 1).await;
    }
    let connected = multiplex.stats()[0].connections.len();
    assert_eq!(connected, 1, "of {}", net.dials().len());
}

#[tokio::test(start_paused = true)]
async fn an_aged_connection_is_replaced_and_what_it_carries_goes_on() {
    let pool = PoolConfig::default().max_age(Some(MINUTE)).unwrap();
    let (net, multiplex) = with(pool);
    let mut old = opened(&multiplex, 1).await;
    sleep(MINUTE * 53 / 60).await;
    assert_eq!(net.dials().len(), 1, "10 % before its age at most");
    sleep(MINUTE * 14 / 60).await;
    assert_eq!(net.dials().len(), 2, "10 % after its age at most");
    ping(&mut old[0]).await.unwrap();
    opened(&multiplex, 1).await;
    let servers = net.servers();
    let accepted: Vec<u64> = servers.iter().map(|s| s.stats().accepted).collect();
    assert_eq!(accepted, [1, 1]);
    drop(old);
    sleep(Duration::from_secs(1)).await;
    assert!(servers[0].error().is_some() && servers[1].error().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_aged_connection_serves_on_while_its_replacement_can_not_be_dialled() {
    let pool = PoolConfig::default().max_age(Some(MINUTE)).unwrap();
    let (net, multiplex) = with(pool);
    opened(&multiplex, 1).await;
    net.set(Way::Refused);
    sleep(2 * MINUTE).await;
    opened(&multiplex, 10).await;
    net.set(Way::Up);
    sleep(MINUTE).await;
    opened(&multiplex, 2).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(multiplex.stats()[0].connections.len(), 1);
    assert!(net.servers()[0].error().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_aged_connection_serves_on_while_its_replacement_says_nothing() {
    let pool = PoolConfig::default().max_age(Some(MINUTE)).unwrap();
    let (net, multiplex) = with(pool);
    opened(&multiplex, 1).await;
    net.set(Way::Silent);
    while net.dials().len() < 2 {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_millis(10)).await;
    opened(&multiplex, 10).await;
    assert_eq!(net.servers()[0].stats().accepted, 11);
}

/// However often those that replace it are late as well.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_always_late_has_a_bounded_number_of_connections() {
    let config = Config::default().handshake_timeout(Duration::from_secs(3600));
    let net = Net::new(Config::default());
    net.set(Way::Silent);
    let multiplex = Multiplex::new(net.clone()).with_config(config.unwrap());
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(open(&multiplex).await);
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(net.dials().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_after_so_many_channels() {
    let pool = PoolConfig::default().max_opened(100).unwrap();
    let (net, multiplex) = with(pool);
    for _ in 0..1000 {
        opened(&multiplex, 1).await;
    }
    assert!(
        (9..=12).contains(&net.dials().len()),
        "{}",
        net.dials().len()
    );
    for server in net.servers() {
        assert!(server.stats().accepted <= 111);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_draining_connection_carries_is_closed_at_the_deadline_if_one_is_set() {
    let pool = PoolConfig::default().max_age(Some(MINUTE)).unwrap();
    let (_, multiplex) = with(pool.drain_timeout(Some(MINUTE)).unwrap());
    let mut old = opened(&multiplex, 1).await;
    sleep(MINUTE * 3 / 2).await;
    ping(&mut old[0]).await.unwrap();
    sleep(MINUTE).await;
    assert!(ping(&mut old[0]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_draining_connection_is_shown_until_what_it_carries_is_over() {
    let (net, multiplex) = with(PoolConfig::default());
    let old = opened(&multiplex, 1).await;
    sleep(MINUTE).await;
    net.servers()[0].drain();
    let counts = || {
        let stats = &multiplex.stats()[0];
        let drains = stats
            .draining
            .iter()
            .map(|one| (one.channels, one.draining));
        (stats.connections.len(), drains.collect::<Vec<_>>())
    };
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counts(), (1, vec![(1, true)]));
    drop(old);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counts(), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_target_is_closed_and_forgotten() {
    let pool = PoolConfig::default().idle_timeout(MINUTE).unwrap();
    let (net, mut multiplex) = with(pool);
    for i in 0..1000 {
        let uri: Uri = format!("http://host{i}/").parse().unwrap();
        drop(multiplex.call(uri).await.unwrap());
        sleep(Duration::from_secs(1)).await;
    }
    let targets = multiplex.stats().len();
    assert!(targets < 500, "{targets} targets are remembered");
    sleep(2 * MINUTE).await;
    let open = net.servers().iter().filter(|s| s.error().is_none()).count();
    assert_eq!(open, 0);
    opened(&multiplex, 1).await;
}

#[test]
fn bad_values_name_the_field_and_the_range() {
    let error = PoolConfig::default().connections(0..=4).unwrap_err();
    assert_eq!(
        error.to_string(),
        "connections.start is 0 and must be from 1 to 64"
    );
    let error = PoolConfig::default().connections(3..=65).unwrap_err();
    assert_eq!(
        error.to_string(),
        "connections.end is 65 and must be from 3 to 64"
    );
}

/// Nobody would ever accept them, nor read what they carry.
#[tokio::test(start_paused = true)]
async fn channels_that_a_server_opens_are_refused() {
    let (net, multiplex) = with(PoolConfig::default());
    let _held = opened(&multiplex, 1).await;
    let mut channel = net.servers()[0].open().await.unwrap();
    channel.write_all(b"take this").await.unwrap();
    let refused = timeout(MINUTE, channel.read_u8()).await;
    let refused = refused.expect("an answer").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
