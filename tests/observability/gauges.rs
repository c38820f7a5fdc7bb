//! Gauges are right whenever the recorder comes, and fall when a connection ends.
#![cfg(feature = "metrics")]

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::sleep;

use crate::scrape::{recorder, sum};

fn pair() -> (Connection, Connection) {
    let (near, far) = duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    (client, Connection::server(far, Config::default()))
}

/// Connections, channels, and bytes that wait.
fn gauges(metrics: &PrometheusHandle) -> [f64; 3] {
    ["connections", "channels", "buffered_bytes"].map(|name| {
        let name = format!("tcpchan_{name}{{");
        sum(metrics, &name)
    })
}

#[tokio::test(start_paused = true)]
async fn connections_from_before_the_recorder_join_and_leave() {
    let (client, server) = pair();
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"ask").await.unwrap();
    let accepted = server.accept().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let later = pair();
    sleep(Duration::from_secs(16)).await; // the idle ones' ping
    assert_eq!(gauges(&metrics), [4.0, 2.0, 3.0]);
    drop((channel, accepted, client, server, later));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(gauges(&metrics), [0.0; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_ended_before_the_recorder_came_is_nothing() {
    let (client, server) = pair();
    let _channel = client.open().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    client.close("");
    sleep(Duration::from_millis(1)).await;
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    drop((client, server));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(gauges(&metrics), [0.0; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_ended_counts_no_more_though_its_channels_are_held() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (client, server) = pair();
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"ask").await.unwrap();
    let accepted = server.accept().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(gauges(&metrics), [2.0, 2.0, 3.0]);
    client.close("");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(gauges(&metrics), [0.0; 3]);
    drop((channel, accepted, client, server));
}

/// Its peer neither answers nor hangs up, so its socket lingers.
#[tokio::test(start_paused = true)]
async fn a_connection_that_lingers_after_its_end_counts_no_more() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (near, _far) = duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(gauges(&metrics)[0], 1.0);
    client.close("");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(gauges(&metrics)[0], 0.0);
}
