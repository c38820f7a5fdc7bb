//! A target that is down: errors with the cause, in time; dials that are
//! bounded and spaced; and it works again when the target is back.
#![cfg(feature = "client")]

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::Config;
use tcpchan::client::{ConnectError, Multiplex, PoolConfig, is_retryable};
use tcpchan::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::Service;

use crate::guard::within;
use crate::local::{Net, Way, open, ping};

/// The io::Error at the end of the sources.
fn cause(error: &ConnectError) -> Option<io::ErrorKind> {
    let mut error: &dyn Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

fn net(way: Way) -> (Net, Multiplex<Net>) {
    let net = Net::new(Config::default());
    net.set(way);
    (net.clone(), Multiplex::new(net))
}

#[tokio::test(start_paused = true)]
async fn every_caller_of_a_failed_dial_gets_its_cause() {
    let (net, multiplex) = net(Way::Refused);
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let multiplex = multiplex.clone();
        callers.spawn(async move { open(&multiplex).await });
    }
    for result in callers.join_all().await {
        let error = result.unwrap_err();
        assert_eq!(cause(&error), Some(io::ErrorKind::ConnectionRefused));
        assert!(is_retryable(&error) && !error.is_timeout());
    }
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dials_are_spaced_ever_wider_however_many_call() {
    let (net, multiplex) = net(Way::Refused);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let multiplex = multiplex.clone();
        callers.spawn(async move {
            loop {
                assert!(open(&multiplex).await.is_err());
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let dials = net.dials();
    let pauses: Vec<Duration> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] >= Duration::from_millis(25));
    // 50 ms doubled seven times is above 5 s, and half of that is the least.
    for pause in &pauses[7..] {
        let (least, most) = (Duration::from_millis(2500), Duration::from_millis(5100));
        assert!((least..=most).contains(pause), "{pause:?}");
    }
    assert!((24..=56).contains(&dials.len()), "{} dials", dials.len());
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_hangs_is_an_error_in_time_and_leaves_the_place() {
    let (net, multiplex) = net(Way::Hangs);
    let start = Instant::now();
    let error = open(&multiplex).await.unwrap_err();
    assert!(error.is_timeout());
    assert!(start.elapsed() <= Duration::from_millis(10_010));
    net.set(Way::Up);
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_in_the_pause_names_the_last_dials_error() {
    let pool = PoolConfig::default().open_timeout(Duration::from_millis(1));
    let net = Net::new(Config::default());
    net.takes(Duration::ZERO);
    net.set(Way::Refused);
    let multiplex = Multiplex::new(net.clone()).with_pool(pool.unwrap());
    open(&multiplex).await.unwrap_err();
    let error = open(&multiplex).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(net.dials().len(), 1);
    assert_eq!(cause(&error), Some(io::ErrorKind::ConnectionRefused));
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_is_an_error_and_no_hang() {
    let (net, multiplex) = net(Way::Panics);
    assert!(open(&multiplex).await.is_err());
    net.set(Way::Up);
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_the_bound_get_an_error_at_once() {
    let net = Net::new(Config::default());
    net.set(Way::Hangs);
    let pool = PoolConfig::default().max_waiting(2).unwrap();
    let multiplex = Multiplex::new(net).with_pool(pool);
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        let multiplex = multiplex.clone();
        callers.spawn(async move { open(&multiplex).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    assert!(open(&multiplex).await.unwrap_err().is_full());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Accepting and hanging up at once is no success either.
#[tokio::test(start_paused = true)]
async fn connections_that_never_answer_are_spaced_like_failed_dials() {
    let (net, multiplex) = net(Way::Deaf);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Ok(mut channel) = open(&multiplex).await {
            assert!(ping(&mut channel).await.is_err());
        }
    }
    assert!(net.dials().len() < 40, "{} dials", net.dials().len());
}

/// What a minute of calls costs in dials; a call that fails is tried again.
async fn dials_of_a_minute(way: Way) -> usize {
    let (net, multiplex) = net(way);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Ok(mut channel) = open(&multiplex).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let _ = ping(&mut channel).await;
        }
    }
    net.dials().len()
}

#[tokio::test(start_paused = true)]
async fn connections_that_answer_and_soon_end_are_spaced_like_failed_dials() {
    let dials = dials_of_a_minute(Way::Brief(Duration::from_millis(100))).await;
    assert!((12..40).contains(&dials), "{dials} dials");
}

#[tokio::test(start_paused = true)]
async fn after_a_connection_that_served_and_ended_at_once_the_next_dial_waits_a_little() {
    let (net, multiplex) = net(Way::Brief(Duration::from_millis(1)));
    let start = Instant::now();
    for _ in 0..20 {
        let mut channel = open(&multiplex).await.unwrap();
        ping(&mut channel).await.unwrap();
        channel.read_u8().await.unwrap_err();
    }
    assert_eq!(net.dials().len(), 20);
    assert!(start.elapsed() > 19 * Duration::from_millis(25));
}

#[tokio::test(start_paused = true)]
async fn connections_that_drain_at_once_are_spaced_like_failed_dials() {
    let dials = dials_of_a_minute(Way::Drains).await;
    assert!((12..40).contains(&dials), "{dials} dials");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_ends_its_connections_is_not_dialled_for_nobody() {
    for way in [Way::Brief(Duration::from_millis(100)), Way::Drains] {
        let (net, multiplex) = net(way);
        let _ = open(&multiplex).await;
        let dials = net.dials().len();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let more = net.dials().len() - dials;
        assert!(more <= 1, "{way:?}: {more}");
        net.set(Way::Up);
        ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_serves_and_soon_ends_each_connection_is_dialled_soon() {
    let (net, multiplex) = net(Way::Brief(Duration::from_millis(100)));
    for _ in 0..50 {
        let start = Instant::now();
        let mut channel = open(&multiplex).await.unwrap();
        ping(&mut channel).await.unwrap();
        channel.shutdown().await.unwrap();
        assert!(channel.read_u8().await.is_err());
        drop(channel);
        assert!(start.elapsed() < Duration::from_millis(60));
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
    assert!(net.dials().len() >= 50);
}

/// One connection says nothing and is full; the dial for another goes on as
/// the first fails.
#[tokio::test(start_paused = true)]
async fn a_caller_is_not_told_of_another_connections_failure() {
    let (net, multiplex) = net(Way::Silent);
    let mut stuck = Vec::new();
    for _ in 0..256 {
        stuck.push(open(&multiplex).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    net.set(Way::Up);
    net.takes(Duration::from_millis(9_900));
    let mut channel = open(&multiplex).await.unwrap();
    ping(&mut channel).await.unwrap();
    for mut channel in stuck {
        assert!(channel.read_u8().await.is_err());
    }
}

#[tokio::test]
async fn over_tcp_the_next_request_succeeds_when_the_target_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let multiplex = Multiplex::new(HttpConnector::new());
    let uri: hyper::Uri = format!("http://{addr}/").parse().unwrap();
    for _ in 0..3 {
        let error = within(multiplex.clone().call(uri.clone())).await;
        let error = error.unwrap_err();
        assert_eq!(cause(&error), Some(io::ErrorKind::ConnectionRefused));
    }
    let listener = TcpListener::bind(addr).await.unwrap();
    let mut acceptor = Acceptor::new(listener);
    tokio::spawn(async move {
        let (channel, _) = acceptor.accept().await;
        let (mut reader, mut writer) = channel.into_split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        drop(acceptor);
    });
    let mut channel = within(multiplex.clone().call(uri)).await.unwrap();
    within(ping(&mut channel)).await.unwrap();
    let stats = multiplex.stats();
    assert_eq!((stats[0].dials, stats[0].failed), (4, 3));
}
