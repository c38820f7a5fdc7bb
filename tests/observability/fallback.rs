//! A client that falls back to HTTP: it counts, and is no warning.
#![cfg(all(
    feature = "client",
    feature = "server",
    feature = "metrics",
    feature = "tracing"
))]

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::client::{Fallback, FallbackConfig, FallbackIo, Multiplex};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::Service;
use tracing::Level;

use crate::guard::within;
use crate::log::Log;
use crate::scrape::{recorder, value};

const EVENT: &str = "the server does not speak tcpchan: it is called by HTTP";

fn fallback() -> Fallback<HttpConnector> {
    let asks = FallbackConfig::default().first_answer(true);
    Fallback::new(Multiplex::new(HttpConnector::new())).with_config(asks)
}

fn dials(metrics: &PrometheusHandle, kind: &str) -> f64 {
    let name = format!("tcpchan_dial_duration_seconds_count{{error_type=\"{kind}\"}}");
    value(metrics, &name)
}

#[tokio::test]
async fn one_question_and_each_connection_of_http_count_and_there_is_no_warning() {
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::DEBUG);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: http::Uri = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = tcp.read(&mut [0]).await;
                let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = tcp.read_to_end(&mut Vec::new()).await; // until the client goes
            });
        }
    });
    let mut fallback = fallback();
    for _ in 0..3 {
        let io = within(fallback.call(uri.clone())).await.unwrap();
        assert!(matches!(io, FallbackIo::Http(_)));
    }
    assert_eq!(
        (dials(&metrics, "http"), dials(&metrics, "fallback")),
        (1.0, 3.0)
    );
    let closed = |reason| {
        let labels = format!("{{role=\"client\",reason=\"{reason}\"}}");
        value(
            &metrics,
            &format!("tcpchan_connections_closed_total{labels}"),
        )
    };
    assert_eq!((closed("no_hello"), closed("violation")), (1.0, 0.0));
    log.line(&["INFO", EVENT, "server.address=\"127.0.0.1\""]);
    assert!(!log.text().contains("WARN"), "{}", log.text());
    let stats = fallback.stats_of(&uri).unwrap();
    assert_eq!((stats.fell_back, stats.failed), (3, 0));
}

/// It has spoken tcpchan a moment ago, so what it says now is a failure.
#[tokio::test]
async fn a_target_of_tcpchan_that_hangs_up_is_a_failed_dial() {
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::DEBUG);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: http::Uri = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let connection = Connection::server(tcp, Config::default());
        drop(connection.accept().await);
        connection.close("enough");
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let mut fallback = fallback();
    drop(within(fallback.call(uri.clone())).await.unwrap());
    within(async {
        while within(fallback.call(uri.clone())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(dials(&metrics, "hello") >= 1.0);
    log.line(&["WARN", "the dial failed", "error.type=\"hello\""]);
    assert!(!log.text().contains(EVENT), "{}", log.text());
}
