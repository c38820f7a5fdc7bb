//! Long idle: the keep-alive holds a flow open, at a price that is stated.
#![cfg(feature = "client")]

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::Config;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tower::Service;

use crate::guard::within;
use crate::local::{Net, echo_all, open, ping};
use crate::proxy::Proxy;

const HOUR: Duration = Duration::from_secs(3600);

/// Never replaced, never forgotten.
fn kept() -> PoolConfig {
    let pool = PoolConfig::default().max_age(None).unwrap();
    pool.idle_timeout(24 * HOUR).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_costs_at_most_15360_bytes_an_hour() {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone()).with_pool(kept());
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let total = || {
        let stats = &multiplex.stats()[0].connections[0];
        stats.bytes_sent + stats.bytes_received
    };
    let before = total();
    tokio::time::sleep(HOUR).await;
    // A ping and a pong of 16 bytes every 15 s; without a round trip between
    // them both sides ask at the same moment, else only one does.
    assert!((240 * 32..=240 * 64).contains(&(total() - before)));
    assert_eq!(net.dials().len(), 1);
}

/// Real TCP through something that forgets flows after 500 ms of silence.
#[tokio::test]
async fn the_keep_alive_holds_a_flow_open_that_would_be_dropped_when_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let forgets = Some(Duration::from_millis(500));
    let proxy = Proxy::start(acceptor.local_addr().unwrap(), forgets).await;
    tokio::spawn(echo_all(acceptor));
    let config = Config::default().ping_after(Duration::from_millis(100));
    let multiplex = Multiplex::new(HttpConnector::new())
        .with_config(config.unwrap())
        .with_pool(kept());
    let uri: hyper::Uri = format!("http://{}/", proxy.addr).parse().unwrap();
    let mut channel = within(multiplex.clone().call(uri.clone())).await.unwrap();
    within(ping(&mut channel)).await.unwrap();
    drop(channel);
    // Idle for a time that is measured in keep-alives: 20 are 2 s at least.
    let sent = || multiplex.stats()[0].connections[0].bytes_sent;
    let enough = sent() + 20 * 16;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    within(async {
        while sent() < enough {
            ticks.tick().await;
        }
    })
    .await;
    let mut channel = within(multiplex.clone().call(uri)).await.unwrap();
    within(ping(&mut channel)).await.unwrap();
    assert_eq!((proxy.accepted(), multiplex.stats()[0].dials), (1, 1));
}
