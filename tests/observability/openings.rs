//! Callers of a connector: who waits, who got a channel, and why others did not.
#![cfg(all(feature = "client", feature = "metrics"))]

use std::future::pending;
use std::io;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::client::{Multiplex, PoolConfig};
use tokio::io::DuplexStream;
use tokio::time::{advance, sleep};
use tower::{Service, service_fn};

use crate::scrape::{recorder, sum, value};

fn uri() -> Uri {
    Uri::from_static("http://silent.example")
}

type Silent = io::Result<TokioIo<DuplexStream>>;

/// How many calls ended with this kind of error, of all that ended.
fn failed(metrics: &PrometheusHandle, kind: &str) -> (f64, f64) {
    let name = format!("tcpchan_open_duration_seconds_count{{error_type=\"{kind}\"}}");
    (
        value(metrics, &name),
        sum(metrics, "tcpchan_open_duration_seconds_count"),
    )
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_shows_until_it_gives_up() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut connector = Multiplex::new(service_fn(|_: Uri| pending::<Silent>()));
    let waits = [connector.call(uri()), connector.call(uri())].map(tokio::spawn);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(value(&metrics, "tcpchan_waiting_callers"), 2.0);
    waits[0].abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(value(&metrics, "tcpchan_waiting_callers"), 1.0);
    assert_eq!(failed(&metrics, "cancelled"), (1.0, 1.0));
    advance(Duration::from_secs(11)).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(value(&metrics, "tcpchan_waiting_callers"), 0.0);
    assert_eq!(failed(&metrics, "timeout"), (1.0, 2.0));
}

#[tokio::test(start_paused = true)]
async fn one_beyond_the_most_fails_as_full() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let pool = PoolConfig::default().max_waiting(1).unwrap();
    let silent = service_fn(|_: Uri| pending::<Silent>());
    let mut connector = Multiplex::new(silent).with_pool(pool);
    let _waits = tokio::spawn(connector.call(uri()));
    sleep(Duration::from_millis(1)).await;
    connector.call(uri()).await.unwrap_err();
    assert_eq!(failed(&metrics, "full"), (1.0, 1.0));
    assert_eq!(value(&metrics, "tcpchan_waiting_callers"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn one_whose_dial_fails_has_the_dials_kind() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let refuses =
        service_fn(|_: Uri| async { Silent::Err(io::ErrorKind::ConnectionRefused.into()) });
    let mut connector = Multiplex::new(refuses);
    connector.call(uri()).await.unwrap_err();
    assert_eq!(failed(&metrics, "refused"), (1.0, 1.0));
}
