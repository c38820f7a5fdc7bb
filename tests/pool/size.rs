//! How many connections there are: in a cold burst, after a busy time, after a blip, and
//! with very many targets.
#![cfg(feature = "client")]

use std::time::Duration;

use futures_util::future::join_all;
use hyper::Uri;
use tcpchan::client::{ConnectError, Multiplex, PoolConfig};
use tcpchan::{Channel, Config, Connection};
use tokio::time::{Instant, sleep, timeout};
use tower::Service;

use crate::local::{Net, Way, open, ping};
use crate::network::Network;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn with(pool: PoolConfig) -> (Net, Multiplex<Net>) {
    let net = Net::new(Config::default());
    (net.clone(), Multiplex::new(net).with_pool(pool))
}

async fn burst(multiplex: &Multiplex<Net>, count: usize) -> Vec<Channel> {
    let opened = join_all((0..count).map(|_| open(multiplex))).await;
    opened.into_iter().map(Result::unwrap).collect()
}

fn connections<C>(multiplex: &Multiplex<C>) -> usize {
    multiplex.stats()[0].connections.len()
}

/// A long link to a server that accepts channels, and a pool on it.
fn far(pool: PoolConfig) -> (Network, Multiplex<Network>) {
    let (network, mut ends) = Network::new();
    network.change(|now| now.delay = 40 * MS);
    tokio::spawn(async move {
        let mut servers = Vec::new();
        while let Some(end) = ends.recv().await {
            servers.push(Connection::server(end, Config::default()));
        }
    });
    (network.clone(), Multiplex::new(network).with_pool(pool))
}

fn call(multiplex: &Multiplex<Network>) -> impl Future<Output = Result<Channel, ConnectError>> {
    let uri = Uri::from_static("http://far.example");
    multiplex.clone().call(uri)
}

#[tokio::test(start_paused = true)]
async fn a_cold_burst_over_a_long_link_is_shared_by_several_connections() {
    let (_network, multiplex) = far(PoolConfig::default());
    let start = Instant::now();
    let held = join_all((0..40).map(|_| call(&multiplex))).await;
    assert!(start.elapsed() < 100 * MS, "{:?}", start.elapsed());
    let stats = &multiplex.stats()[0];
    let counts = stats.connections.iter().map(|one| one.channels);
    let counts: Vec<usize> = counts.collect();
    assert_eq!(counts.len(), 20, "one for two callers");
    assert!(
        counts.iter().all(|count| (1..=3).contains(count)),
        "{counts:?}"
    );
    drop(held);
    sleep(MINUTE + SECOND).await;
    let left = multiplex.stats()[0].connections.len();
    assert_eq!(left, 1, "nobody needs the others");
}

#[tokio::test(start_paused = true)]
async fn a_cold_burst_over_a_fast_link_has_one_connection() {
    let (net, multiplex) = with(PoolConfig::default());
    net.takes(3 * MS);
    let _held = burst(&multiplex, 200).await;
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn few_callers_need_no_more_than_one_connection() {
    let (net, multiplex) = with(PoolConfig::default());
    net.takes(80 * MS);
    let _held = burst(&multiplex, 2).await;
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cold_burst_dials_no_more_than_the_pool_may_have() {
    let (net, multiplex) = with(PoolConfig::default().connections(1..=3).unwrap());
    net.takes(80 * MS);
    let _held = burst(&multiplex, 500).await;
    assert_eq!(net.dials().len(), 3);
}

/// Four requests at a time, after a time of 160.
#[tokio::test(start_paused = true)]
async fn connections_of_a_busy_time_go_though_some_requests_come() {
    let (_net, multiplex) = with(PoolConfig::default().target_concurrency(10).unwrap());
    let mut held = Vec::new();
    for _ in 0..160 {
        held.push(open(&multiplex).await.unwrap());
        sleep(2 * MS).await;
    }
    assert_eq!(connections(&multiplex), 16);
    drop(held);
    for _ in 0..610 {
        for mut channel in burst(&multiplex, 4).await {
            ping(&mut channel).await.unwrap();
        }
        sleep(100 * MS).await;
    }
    assert_eq!(connections(&multiplex), 1);
}

/// Nothing arrives while so many callers come, one each second or two.
async fn blip(network: &Network, multiplex: &Multiplex<Network>, callers: usize) {
    network.change(|now| now.stalled = true);
    for _ in 0..callers {
        let _ = timeout(SECOND, call(multiplex)).await;
        sleep(SECOND).await;
    }
    network.change(|now| now.stalled = false);
}

#[tokio::test(start_paused = true)]
async fn a_blip_leaves_no_more_connections_than_there_may_be() {
    for count in [1..=1, 2..=2, 4..=4] {
        let pool = PoolConfig::default().connections(count.clone()).unwrap();
        let (network, multiplex) = far(pool);
        let held = call(&multiplex).await.unwrap();
        sleep(SECOND).await;
        blip(&network, &multiplex, 15).await;
        sleep(MINUTE).await;
        let left = multiplex.stats()[0].connections.len();
        assert_eq!(left, *count.end());
        drop(held);
    }
}

/// The blip leaves as many as there may be, and all of them are past their age.
#[tokio::test(start_paused = true)]
async fn connections_that_are_old_together_are_replaced_though_there_is_no_room() {
    let pool = PoolConfig::default().connections(3..=3).unwrap();
    let (network, multiplex) = far(pool.max_age(Some(3 * SECOND)).unwrap());
    let config = Config::default().answer_within(2 * SECOND, 2 * MINUTE);
    let multiplex = multiplex.with_config(config.unwrap());
    let held = call(&multiplex).await.unwrap();
    sleep(SECOND).await;
    blip(&network, &multiplex, 10).await;
    assert_eq!(connections(&multiplex), 11);
    let dials = multiplex.stats()[0].dials;
    sleep(5 * SECOND).await;
    assert_eq!(connections(&multiplex), 3);
    assert!(multiplex.stats()[0].dials >= dials + 3);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_dialled_without_a_caller() {
    let (net, multiplex) = with(PoolConfig::default().connections(4..=4).unwrap());
    let _held = burst(&multiplex, 1).await;
    sleep(2 * SECOND).await;
    net.set(Way::Refused);
    net.servers()[0].close("one ends");
    sleep(20 * SECOND).await;
    assert_eq!(connections(&multiplex), 3);
    net.set(Way::Up);
    sleep(MINUTE).await;
    assert_eq!(connections(&multiplex), 4);
}

#[tokio::test(start_paused = true)]
async fn who_can_wait_is_not_told_of_a_dial_that_failed() {
    let net = Net::new(Config::default().max_channels(256).unwrap());
    let multiplex = Multiplex::new(net.clone());
    let mut held = burst(&multiplex, 256).await;
    net.set(Way::Refused);
    let waits = tokio::spawn({
        let multiplex = multiplex.clone();
        async move { open(&multiplex).await.map(drop) }
    });
    sleep(300 * MS).await;
    assert!(!waits.is_finished());
    held.truncate(100);
    timeout(SECOND, waits).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_late_is_joined_by_another() {
    let (net, multiplex) = with(PoolConfig::default().connections(1..=1).unwrap());
    net.takes_next(&[9 * SECOND]);
    let start = Instant::now();
    open(&multiplex).await.unwrap();
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_targets_are_forgotten_in_time() {
    for way in [Way::Up, Way::Refused] {
        let (net, mut multiplex) = with(PoolConfig::default().idle_timeout(MINUTE).unwrap());
        net.set(way);
        net.takes(Duration::ZERO);
        for nth in 0..10_000 {
            let uri: Uri = format!("http://host{nth}/").parse().unwrap();
            let _ = multiplex.call(uri).await;
        }
        assert!(multiplex.stats().len() > 9_000);
        sleep(MINUTE + SECOND).await;
        assert_eq!(multiplex.stats().len(), 0);
        let open = net
            .servers()
            .into_iter()
            .filter(|one| one.error().is_none());
        assert_eq!(open.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_call_was_never_polled_is_forgotten() {
    let (_net, mut multiplex) = with(PoolConfig::default().idle_timeout(MINUTE).unwrap());
    for nth in 0..100 {
        let uri: Uri = format!("http://host{nth}/").parse().unwrap();
        drop(multiplex.call(uri.clone()));
        drop(multiplex.prewarm(&uri, 1));
    }
    drop(multiplex.call(Uri::from_static("http://here/")).await);
    sleep(MINUTE * 2).await;
    assert_eq!(multiplex.stats().len(), 0);
}
