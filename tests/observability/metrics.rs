//! The metrics that operators see, by the exporter for Prometheus.
#![cfg(all(feature = "client", feature = "server", feature = "metrics"))]

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, duplex, split};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::Service;

use crate::guard::within;
use crate::scrape::{recorder, value};
use crate::started::started;

fn pair() -> (Connection, Connection) {
    let (near, far) = duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    (client, Connection::server(far, Config::default()))
}

#[tokio::test(start_paused = true)]
async fn gauges_follow_what_there_is() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (first, second) = (pair(), pair());
    let channels = [
        first.0.open().await,
        first.0.open().await,
        second.0.open().await,
    ];
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(value(&metrics, "tcpchan_connections{role=\"client\"}"), 2.0);
    assert_eq!(value(&metrics, "tcpchan_connections{role=\"server\"}"), 2.0);
    assert_eq!(value(&metrics, "tcpchan_channels{role=\"client\"}"), 3.0);
    drop((channels, first, second));
    tokio::time::sleep(Duration::from_secs(60)).await;
    for gauge in ["connections", "channels", "buffered_bytes"] {
        for role in ["client", "server"] {
            let name = format!("tcpchan_{gauge}{{role=\"{role}\"}}");
            assert_eq!(value(&metrics, &name), 0.0, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn counters_say_what_was_done() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (client, server) = pair();
    for _ in 0..3 {
        drop(client.open().await.unwrap());
        drop(server.accept().await.unwrap());
    }
    server.drain();
    client.close("");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let value = |name: &str| value(&metrics, name);
    assert_eq!(
        value("tcpchan_connections_opened_total{role=\"client\"}"),
        1.0
    );
    let opened = "tcpchan_channels_opened_total";
    assert_eq!(
        value(&format!("{opened}{{role=\"client\",by=\"self\"}}")),
        3.0
    );
    assert_eq!(
        value(&format!("{opened}{{role=\"server\",by=\"peer\"}}")),
        3.0
    );
    let closed = "tcpchan_connections_closed_total";
    assert_eq!(
        value(&format!("{closed}{{role=\"client\",reason=\"closed\"}}")),
        1.0
    );
    assert_eq!(
        value(&format!(
            "{closed}{{role=\"server\",reason=\"peer_closed\"}}"
        )),
        1.0
    );
    let sent = value("tcpchan_sent_bytes_total{role=\"client\"}");
    assert_eq!(sent, value("tcpchan_received_bytes_total{role=\"server\"}"));
    assert!(sent > 0.0);
}

#[tokio::test]
async fn dials_are_counted_by_their_result() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let mut acceptor = Acceptor::new(listener);
    let mut connector = Multiplex::new(HttpConnector::new());
    let _channel = connector.call(uri.parse().unwrap()).await.unwrap();
    within(acceptor.accept()).await;
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", down.local_addr().unwrap());
    drop(down);
    connector.call(uri.parse().unwrap()).await.unwrap_err();
    for kind in ["", "{error_type=\"refused\"}"] {
        for name in ["dial_duration_seconds_count", "open_duration_seconds_count"] {
            let name = format!("tcpchan_{name}{kind}");
            assert_eq!(value(&metrics, &name), 1.0, "{name}");
        }
    }
}

#[tokio::test]
async fn strangers_are_counted_by_themselves() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut near, far) = duplex(1 << 16);
    let server = Connection::server(far, Config::default());
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(within(server.accept()).await.is_none());
    drop(near);
    within(server.closed()).await;
    let value = |name: &str| value(&metrics, name);
    assert_eq!(value("tcpchan_strangers_total{reason=\"violation\"}"), 1.0);
    let closed = "tcpchan_connections_closed_total{role=\"server\",reason=\"stranger\"}";
    assert_eq!(value(closed), 1.0);
}

/// An alert on the growth of a counter does not see the first of one that begins with it.
#[tokio::test]
async fn the_counters_of_failures_begin_at_nothing() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let _pair = pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _acceptor = started(Acceptor::new(listener));
    for role in ["client", "server"] {
        for reason in ["lost", "dead", "violation", "version", "peer_error"] {
            let labels = format!("{{role=\"{role}\",reason=\"{reason}\"}}");
            let name = format!("tcpchan_connections_closed_total{labels}");
            assert_eq!(value(&metrics, &name), 0.0, "{name}");
        }
    }
    assert_eq!(value(&metrics, "tcpchan_accept_errors_total"), 0.0);
}

/// Who is at fault is told on both sides.
#[tokio::test]
async fn a_peer_that_complains_is_told_from_one_that_closes() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ((near, one), (other, far)) = (duplex(64 << 10), duplex(64 << 10));
    let (mut from_client, mut to_client) = split(one);
    let (mut from_server, mut to_server) = split(other);
    let (spoil, spoils) = oneshot::channel();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    tokio::spawn(async move {
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = spoils => to_server.write_all(&[0xff; 64]).await.unwrap(),
        }
        let _ = from_client.read_to_end(&mut Vec::new()).await;
    });
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let _channel = client.open().await.unwrap();
    let _accepted = within(server.accept()).await.unwrap();
    spoil.send(()).unwrap();
    within(client.closed()).await;
    within(server.closed()).await;
    for labels in [
        "role=\"client\",reason=\"peer_error\"",
        "role=\"server\",reason=\"violation\"",
    ] {
        let name = format!("tcpchan_connections_closed_total{{{labels}}}");
        assert_eq!(value(&metrics, &name), 1.0, "{}", metrics.render());
    }
}
