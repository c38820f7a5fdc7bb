//! Names that resolve to several addresses: each has connections of its own, channels are
//! balanced over them, and changes are followed.

mod fixture;
mod tcp;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;

use self::fixture::{Answer, Cluster, v4, v6};
use crate::local::{Way, ping};

const SECOND: Duration = Duration::from_secs(1);

/// The interval of a discovery, with the tenth that it may be longer.
const INTERVAL: Duration = Duration::from_secs(11);

#[tokio::test(start_paused = true)]
async fn channels_go_to_all_addresses_in_turn() {
    let all = [v4(1), v4(2), v4(3)];
    let cluster = Cluster::new(&all);
    cluster.ping(1).await;
    sleep(SECOND).await; // all are up
    assert_eq!(cluster.share(30, &all).await, [10, 10, 10]);
    assert_eq!(cluster.script.asked(), ["app"]);
    let dials = all.map(|addr| cluster.servers.at(addr).dials().len());
    assert_eq!(dials, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn channels_that_stay_are_spread_evenly() {
    let all = [v4(1), v4(2), v4(3), v4(4)];
    let cluster = Cluster::new(&all);
    cluster.ping(1).await;
    sleep(SECOND).await;
    let before = cluster.servers.channels(&all);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(cluster.open().await.unwrap());
    }
    for channel in &mut held {
        ping(channel).await.unwrap();
    }
    let after = cluster.servers.channels(&all);
    let each: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    assert_eq!(each, [25; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_new_address_gets_channels_within_the_interval() {
    let all = [v4(1), v4(2)];
    let cluster = Cluster::new(&all[..1]);
    cluster.ping(1).await;
    cluster.script.resolves_to(&all);
    sleep(INTERVAL).await;
    assert_eq!(cluster.share(10, &all).await, [5, 5]);
    assert_eq!(cluster.multiplex.stats()[0].addresses.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_connections_of_an_address_that_is_gone_drain() {
    let all = [v4(1), v4(2)];
    let cluster = Cluster::new(&all);
    cluster.ping(1).await;
    sleep(SECOND).await;
    let mut held = [cluster.open().await.unwrap(), cluster.open().await.unwrap()];
    cluster.script.resolves_to(&all[..1]);
    sleep(INTERVAL).await;
    assert_eq!(cluster.share(10, &all).await, [10, 0]);
    let stats = &cluster.multiplex.stats()[0];
    assert_eq!((stats.connections.len(), stats.draining.len()), (1, 1));
    for channel in &mut held {
        ping(channel).await.unwrap();
    }
    drop(held);
    sleep(SECOND).await;
    assert!(cluster.multiplex.stats()[0].draining.is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_all_addresses_change_the_old_ones_serve_until_a_new_one_does() {
    let cluster = Cluster::new(&[v4(1)]);
    cluster.ping(1).await;
    cluster.servers.at(v4(2)).takes(3 * SECOND);
    cluster.script.resolves_to(&[v4(2)]);
    sleep(INTERVAL).await;
    assert_eq!(cluster.share(2, &[v4(1), v4(2)]).await, [2, 0]);
    sleep(4 * SECOND).await;
    assert_eq!(cluster.share(2, &[v4(1), v4(2)]).await, [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_fails_or_knows_no_address_keeps_the_last_answer() {
    let all = [v4(1), v4(2)];
    let cluster = Cluster::new(&all);
    cluster.ping(1).await;
    for answer in [Answer::Fails, Answer::Addresses(Vec::new()), Answer::Panics] {
        cluster.script.say(answer);
        sleep(2 * INTERVAL).await;
        assert_eq!(cluster.share(10, &all).await, [5, 5]);
    }
    assert!(cluster.script.asked().len() > 6);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_down_gets_nothing_and_is_found_again() {
    let all = [v4(1), v4(2)];
    let cluster = Cluster::new(&all);
    cluster.ping(2).await;
    sleep(SECOND).await;
    cluster.is_down(v4(1));
    sleep(Duration::from_millis(10)).await; // the end arrives
    assert_eq!(cluster.share(10, &all).await, [0, 10]);
    cluster.servers.at(v4(1)).set(Way::Up);
    sleep(10 * SECOND).await;
    assert_eq!(cluster.share(10, &all).await, [5, 5]);
}

/// The first dial of a call fails, and the call goes on at another address.
#[tokio::test(start_paused = true)]
async fn a_caller_does_not_see_a_dial_that_fails_beside_one_that_does_not() {
    let all = [v4(1), v4(2), v4(3)];
    let cluster = Cluster::new(&all);
    cluster.is_down(v4(1));
    cluster.is_down(v4(2));
    cluster.servers.at(v4(3)).takes(SECOND);
    cluster.ping(1).await;
    assert_eq!(cluster.share(10, &all).await, [0, 0, 10]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_hangs_holds_nobody_up() {
    let all = [v4(1), v4(2)];
    let cluster = Cluster::new(&all);
    cluster.servers.at(v4(1)).set(Way::Hangs);
    let start = Instant::now();
    assert_eq!(cluster.share(10, &all).await, [0, 10]);
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_address_whose_peer_is_silent_is_avoided() {
    let all = [v4(1), v4(2)];
    let cluster = Cluster::new(&all);
    cluster.ping(2).await;
    sleep(SECOND).await;
    cluster.servers.at(v4(1)).set(Way::Refused);
    cluster.servers.at(v4(1)).black_hole();
    let mut both = [cluster.open().await.unwrap(), cluster.open().await.unwrap()];
    for channel in &mut both {
        let _ = timeout(3 * SECOND, ping(channel)).await;
    }
    assert_eq!(cluster.share(10, &all).await, [0, 10]);
}

#[tokio::test(start_paused = true)]
async fn when_all_addresses_are_down_the_error_says_so() {
    let all = [v4(1), v4(2), v4(3)];
    let cluster = Cluster::new(&all);
    all.iter().for_each(|addr| cluster.is_down(*addr));
    let start = Instant::now();
    for _ in 0..3 {
        let error = cluster.open().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no channel to the target: all of its 3 addresses fail"
        );
        let last = error.source().unwrap().to_string();
        assert!(last.starts_with("the dial to 10.0.0."), "{last}");
        assert!(error.is_retryable() && !error.is_timeout());
    }
    assert!(start.elapsed() < 5 * SECOND);
    cluster.servers.at(v4(2)).set(Way::Up);
    sleep(5 * SECOND).await;
    assert_eq!(cluster.share(3, &all).await, [0, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_resolved_is_an_error_that_says_so() {
    let cluster = Cluster::new(&[]);
    let unresolved = "no channel to the target: its name could not be resolved";
    for (answer, cause) in [
        (Answer::Fails, "the resolver has no answer"),
        (Answer::Addresses(Vec::new()), "the name has no address"),
        (Answer::Panics, "the resolver panicked"),
    ] {
        cluster.script.say(answer);
        let error = cluster.open().await.unwrap_err();
        assert_eq!(error.to_string(), unresolved);
        assert_eq!(error.source().unwrap().to_string(), cause);
    }
    cluster.script.resolves_to(&[v4(1)]);
    cluster.ping(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_waited_for_as_long_as_for_a_dial_and_asked_again() {
    let cluster = Cluster::new(&[]);
    cluster.script.say(Answer::Hangs);
    let start = Instant::now();
    let error = cluster.open().await.unwrap_err();
    assert!(error.is_timeout());
    let cause = error.source().unwrap().to_string();
    assert!(cause.starts_with("the resolver "), "{cause}");
    assert!((9 * SECOND..11 * SECOND).contains(&start.elapsed()));
    cluster.script.resolves_to(&[v4(1)]);
    cluster.ping(1).await;
    assert!(start.elapsed() < 12 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_has_the_name_resolved_at_once() {
    let cluster = Cluster::new(&[v4(1)]);
    cluster.ping(1).await;
    sleep(2 * SECOND).await;
    cluster.script.resolves_to(&[v4(2)]);
    cluster.is_down(v4(1));
    sleep(Duration::from_millis(100)).await;
    cluster.ping(1).await;
    assert_eq!(cluster.servers.channels(&[v4(2)]), [1]);
}

#[tokio::test(start_paused = true)]
async fn dials_that_fail_ask_the_resolver_once_a_second_at_most() {
    let all = [v4(1), v4(2), v4(3)];
    let cluster = Cluster::new(&all);
    cluster.ping(1).await;
    cluster.is_down(v4(1));
    cluster.is_down(v4(2));
    sleep(60 * SECOND).await;
    let asked = cluster.script.asked().len();
    assert!((6..=62).contains(&asked), "{asked} questions");
}

#[tokio::test(start_paused = true)]
async fn of_many_addresses_so_many_are_used_and_stay() {
    let all: Vec<_> = (1..=20).map(v4).collect();
    let few = |discovery: tcpchan::client::Discovery| discovery.max_addresses(4).unwrap();
    let cluster = Cluster::with(&all, few);
    cluster.ping(1).await;
    sleep(SECOND).await;
    let used = |cluster: &Cluster| cluster.multiplex.stats()[0].addresses.clone();
    let before = used(&cluster);
    assert_eq!(before.len(), 4);
    assert_eq!(cluster.share(8, &before).await, [2; 4]);
    sleep(10 * INTERVAL).await;
    assert_eq!(used(&cluster), before);
    let dials: usize = all
        .iter()
        .map(|addr| cluster.servers.at(*addr).dials().len())
        .sum();
    assert_eq!(dials, 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_is_cut_off() {
    let endless = service_fn(|_: Name| async {
        let addresses = (0x0a00_0000_u32..).map(Ipv4Addr::from);
        Ok::<_, std::io::Error>(addresses.map(|ip| SocketAddr::from((ip, 3000))))
    });
    let cluster = Cluster::with(&[], |discovery| discovery.resolver(endless));
    cluster.ping(1).await;
    assert_eq!(cluster.multiplex.stats()[0].addresses.len(), 64);
}

#[tokio::test(start_paused = true)]
async fn the_other_family_serves_while_all_of_the_preferred_one_fail() {
    let all = [v6(1), v4(1)];
    let cluster = Cluster::new(&all);
    cluster.ping(1).await;
    assert_eq!(cluster.servers.at(v4(1)).dials().len(), 0, "no need for it");
    cluster.is_down(v6(1));
    sleep(SECOND).await;
    assert_eq!(cluster.share(4, &all).await, [0, 4]);
    cluster.servers.at(v6(1)).set(Way::Up);
    sleep(120 * SECOND).await;
    assert_eq!(cluster.share(4, &all).await, [4, 0]);
}

/// As where a network has IPv6 that leads nowhere.
#[tokio::test(start_paused = true)]
async fn where_the_preferred_family_hangs_the_other_one_serves_after_a_second() {
    let all = [v6(1), v6(2), v4(1)];
    let cluster = Cluster::new(&all);
    cluster.servers.at(v6(1)).set(Way::Hangs);
    cluster.servers.at(v6(2)).set(Way::Hangs);
    let start = Instant::now();
    assert_eq!(cluster.share(4, &all).await, [0, 0, 4]);
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    cluster.servers.at(v6(1)).set(Way::Up);
    cluster.servers.at(v6(2)).set(Way::Up);
    sleep(120 * SECOND).await;
    assert_eq!(cluster.share(4, &all).await, [2, 2, 0]);
    let stats = cluster.multiplex.stats();
    assert_eq!(stats[0].connections.len(), 2, "none stays to the other");
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_has_no_dial_to_the_other_family() {
    let all = [v6(1), v4(1)];
    let cluster = Cluster::new(&all);
    cluster.servers.at(v6(1)).takes(SECOND * 9 / 10);
    cluster.ping(1).await;
    assert_eq!(cluster.servers.at(v4(1)).dials().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_in_the_uri_is_not_resolved() {
    let cluster = Cluster::new(&[v4(1)]);
    let mut multiplex = cluster.multiplex.clone();
    for uri in ["http://10.0.0.7:3000/", "http://[fd00::7]:3000/"] {
        let uri = hyper::Uri::from_static(uri);
        let mut channel = tower::Service::call(&mut multiplex, uri).await.unwrap();
        ping(&mut channel).await.unwrap();
    }
    assert!(cluster.script.asked().is_empty());
    assert_eq!(cluster.servers.channels(&[v4(7), v6(7)]), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn prewarm_dials_all_addresses() {
    let all = [v4(1), v4(2), v4(3)];
    let cluster = Cluster::new(&all);
    let uri = hyper::Uri::from_static("http://app:3000/");
    cluster.multiplex.prewarm(&uri, 3).await.unwrap();
    let dials = all.map(|addr| cluster.servers.at(addr).dials().len());
    assert_eq!(dials, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_nobody_uses_is_not_resolved_for_ever() {
    let cluster = Cluster::new(&[v4(1), v4(2)]);
    cluster.ping(1).await;
    sleep(3700 * SECOND).await;
    assert!(cluster.multiplex.stats().is_empty());
    let asked = cluster.script.asked().len();
    sleep(3700 * SECOND).await;
    assert_eq!(cluster.script.asked().len(), asked);
}
