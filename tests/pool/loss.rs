//! What a pool does where each connection carries little, as with packets lost.
#![cfg(feature = "client")]

use std::time::Duration;

use futures_util::future::join_all;
use hyper::Uri;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use tower::Service;

use crate::network::Network;

const RTT: Duration = Duration::from_millis(80);
const MINUTE: Duration = Duration::from_secs(60);

/// Bytes that a connection carries in a round trip.
const PACE: usize = 16 << 10;

async fn answer(mut channel: Channel) {
    if channel.read_u8().await.is_ok() {
        let _ = channel.write_all(&[7; 128 << 10]).await;
        let _ = channel.shutdown().await;
    }
}

/// A network whose connections carry little, however many there are, and a pool on it.
fn lossy() -> (Network, Multiplex<Network>) {
    let (network, mut ends) = Network::new();
    network.change(|now| (now.delay, now.piece) = (RTT / 2, PACE / 2));
    tokio::spawn(async move {
        while let Some(end) = ends.recv().await {
            tokio::spawn(async move {
                let connection = Connection::server(end, Config::default());
                while let Some(channel) = connection.accept().await {
                    tokio::spawn(answer(channel));
                }
            });
        }
    });
    let multiplex = Multiplex::new(network.clone()).with_pool(PoolConfig::default());
    (network, multiplex)
}

async fn get(multiplex: &Multiplex<Network>) {
    let uri = Uri::from_static("http://far.example");
    let mut channel = multiplex.clone().call(uri).await.unwrap();
    channel.write_all(b"?").await.unwrap();
    let mut body = Vec::new();
    channel.read_to_end(&mut body).await.unwrap();
    assert_eq!(body.len(), 128 << 10);
}

/// So many downloads at a time.
async fn load(multiplex: &Multiplex<Network>, at_once: usize, time: Duration) {
    let until = Instant::now() + time;
    let each = (0..at_once).map(|_| async {
        while Instant::now() < until {
            get(multiplex).await;
        }
    });
    join_all(each).await;
}

fn connections(multiplex: &Multiplex<Network>) -> usize {
    multiplex.stats()[0].connections.len()
}

#[tokio::test(start_paused = true)]
async fn connections_that_carry_little_are_joined_by_others_as_long_as_those_help() {
    let (_network, multiplex) = lossy();
    get(&multiplex).await;
    load(&multiplex, 32, MINUTE).await;
    assert_eq!(connections(&multiplex), 16);
    load(&multiplex, 32, 3 * MINUTE).await;
    assert_eq!(connections(&multiplex), 16, "while the loss lasts");
}

#[tokio::test(start_paused = true)]
async fn they_go_again_when_the_loss_has_ended() {
    let (network, multiplex) = lossy();
    get(&multiplex).await;
    load(&multiplex, 32, MINUTE).await;
    network.change(|now| (now.delay, now.piece) = (RTT / 2, 32 << 10));
    for _ in 0..60 {
        get(&multiplex).await;
        sleep(MINUTE / 10).await;
    }
    assert_eq!(connections(&multiplex), 1);
}

#[tokio::test(start_paused = true)]
async fn one_download_at_a_time_has_one_connection() {
    let (_network, multiplex) = lossy();
    load(&multiplex, 1, 3 * MINUTE).await;
    assert_eq!(multiplex.stats()[0].dials, 1);
}
