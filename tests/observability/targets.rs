//! Labels of targets, on request, and only so many.
#![cfg(all(feature = "client", feature = "server", feature = "metrics"))]

use std::net::SocketAddr;

use hyper_util::client::legacy::connect::HttpConnector;
use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tower::Service;

use crate::guard::within;
use crate::scrape::{recorder, value};

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener);
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(acceptor.accept().await);
        }
    });
    addr
}

/// Opens a channel to each of some servers.
async fn call(mut connector: Multiplex<HttpConnector>, servers: &[SocketAddr]) {
    for addr in servers {
        let uri: http::Uri = format!("http://user:secret@{addr}").parse().unwrap();
        within(connector.prewarm(&uri, 1)).await.unwrap(); // its dial has ended
        within(connector.call(uri)).await.unwrap();
    }
}

fn labels(metrics: &PrometheusHandle) -> String {
    let text = metrics.render();
    assert!(!text.contains("secret"), "{text}");
    text
}

#[tokio::test]
async fn without_the_request_there_are_none() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    call(Multiplex::new(HttpConnector::new()), &[serve().await]).await;
    let text = labels(&metrics);
    assert!(!text.contains("server_"), "{text}");
}

#[tokio::test]
async fn the_first_targets_have_their_own_and_others_share_one() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let servers = [serve().await, serve().await, serve().await, serve().await];
    let connector = Multiplex::new(HttpConnector::new()).with_target_labels(2);
    call(connector.clone(), &servers).await;
    call(connector.clone(), &servers).await;
    labels(&metrics);
    let of = |name: &str, address: &str, port: &str| {
        let name = format!("tcpchan_{name}server_address=\"{address}\",server_port=\"{port}\"}}");
        value(&metrics, &name)
    };
    for addr in &servers[..2] {
        let port = addr.port().to_string();
        assert_eq!(of("dial_duration_seconds_count{", "127.0.0.1", &port), 1.0);
        assert_eq!(of("open_duration_seconds_count{", "127.0.0.1", &port), 2.0);
        assert_eq!(of("connections{role=\"client\",", "127.0.0.1", &port), 1.0);
    }
    assert_eq!(of("dial_duration_seconds_count{", "other", ""), 2.0);
    assert_eq!(of("open_duration_seconds_count{", "other", ""), 4.0);
    assert_eq!(of("connections{role=\"client\",", "other", ""), 2.0);
}
