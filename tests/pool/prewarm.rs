//! Connections that are dialled ahead of the first work.
#![cfg(feature = "client")]

use std::time::Duration;

use hyper::Uri;
use tcpchan::Config;
use tcpchan::client::{ConnectError, Multiplex, PoolConfig};
use tokio::time::{Instant, sleep};

use crate::local::{Net, Way, open, ping};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn net() -> (Net, Multiplex<Net>) {
    let net = Net::new(Config::default());
    net.takes(80 * MS);
    (net.clone(), Multiplex::new(net))
}

async fn prewarm(multiplex: &Multiplex<Net>, connections: usize) -> Result<(), ConnectError> {
    let uri = Uri::from_static("http://here/");
    multiplex.prewarm(&uri, connections).await
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_as_many_have_answered_their_hello() {
    let (net, multiplex) = net();
    let start = Instant::now();
    prewarm(&multiplex, 4).await.unwrap();
    assert!(start.elapsed() < 100 * MS);
    let stats = &multiplex.stats()[0];
    assert_eq!((net.dials().len(), stats.connections.len()), (4, 4));
    assert!(stats.connections.iter().all(|one| one.version.is_some()));
    let start = Instant::now();
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    assert!(start.elapsed() < 5 * MS, "no caller waits for a dial");
}

#[tokio::test(start_paused = true)]
async fn those_that_are_up_count_and_a_second_call_dials_nothing() {
    let (net, multiplex) = net();
    open(&multiplex).await.unwrap();
    prewarm(&multiplex, 2).await.unwrap();
    prewarm(&multiplex, 2).await.unwrap();
    assert_eq!(net.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_asks_for_no_more_than_the_pool_may_have() {
    let (net, multiplex) = net();
    let pool = PoolConfig::default().connections(1..=2).unwrap();
    prewarm(&multiplex.with_pool(pool), 64).await.unwrap();
    assert_eq!(net.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_says_why_a_connection_can_not_be_dialled() {
    let (net, multiplex) = net();
    net.set(Way::Refused);
    let error = prewarm(&multiplex, 2).await.unwrap_err();
    assert!(!error.is_timeout());
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("refused")
    );
    net.set(Way::Up);
    prewarm(&multiplex, 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_hello_is_not_up() {
    let (net, multiplex) = net();
    net.set(Way::Silent);
    let error = prewarm(&multiplex, 1).await.unwrap_err();
    assert!(error.is_timeout());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_again_and_again_stays() {
    let (net, multiplex) = net();
    for _ in 0..20 {
        prewarm(&multiplex, 3).await.unwrap();
        sleep(10 * SECOND).await;
    }
    assert_eq!(net.dials().len(), 3);
    sleep(61 * SECOND).await;
    assert_eq!(multiplex.stats()[0].connections.len(), 1);
}
