//! What the exporter for Prometheus shows.
#![cfg(feature = "metrics")]

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// A recorder for the test's thread, on which all of its tasks run.
pub fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

pub fn value(metrics: &PrometheusHandle, name: &str) -> f64 {
    let text = metrics.render();
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let Some(value) = found else {
        panic!("no {name} in:\n{text}")
    };
    value.parse().unwrap()
}

/// The sum of all series whose line begins so.
pub fn sum(metrics: &PrometheusHandle, start: &str) -> f64 {
    let text = metrics.render();
    let lines = text.lines().filter(|line| line.starts_with(start));
    let values = lines.filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}
