//! Metrics as Prometheus reads them: the library's by its recorder, then the command's own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use metrics_exporter_prometheus::formatting::{
    sanitize_label_value, write_help_line, write_type_line,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tcpchan::observability::{BUCKETS, describe_metrics};

use crate::service::Running;

/// How often the recorder drops samples that its histograms have taken in.
const UPKEEP: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder, before anything is counted. None if there is one already.
    pub fn install() -> Option<Self> {
        let buckets = Matcher::Prefix("tcpchan_".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &BUCKETS);
        let recorder = builder.ok()?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe_metrics();
        Some(Metrics(handle))
    }

    pub async fn keep(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }

    pub fn render(&self, services: &[Running]) -> String {
        let mut text = self.0.render();
        for (metric, series) in of_services(services) {
            let (name, kind, help) = METRICS[metric];
            write_help_line(&mut text, name, None, None, help);
            write_type_line(&mut text, name, None, None, kind);
            for (labels, value) in series {
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(key, value)| format!("{key}=\"{}\"", sanitize_label_value(value)))
                    .collect();
                let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
            }
            text.push('\n');
        }
        text
    }
}

type Series = Vec<(Vec<(&'static str, String)>, u64)>;

const STREAMS: usize = 0;
const STREAMS_ENDED: usize = 1;
const BYTES: usize = 2;
const TARGET_UP: usize = 3;
const TARGET_STREAMS: usize = 4;

/// Name, kind and help. The guide has the same table.
const METRICS: [(&str, &str, &str); 5] = [
    (
        "tcpchan_service_streams",
        "gauge",
        "streams that a service carries",
    ),
    (
        "tcpchan_service_streams_ended_total",
        "counter",
        "streams of a service that have ended",
    ),
    (
        "tcpchan_service_bytes_total",
        "counter",
        "bytes that a service has carried",
    ),
    (
        "tcpchan_target_up",
        "gauge",
        "1 if a target could be reached last, 0 if it is down or full",
    ),
    ("tcpchan_target_streams", "gauge", "streams to a target"),
];

fn of_services(services: &[Running]) -> BTreeMap<usize, Series> {
    let mut all = BTreeMap::<usize, Series>::new();
    for service in services {
        let view = &service.view;
        let of_service = [
            ("service", view.label().name().to_owned()),
            ("mode", view.mode().to_owned()),
        ];
        let mut add = |metric, more: &[(&'static str, &str)], value| {
            let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
            let labels = of_service.iter().cloned().chain(more).collect();
            all.entry(metric).or_default().push((labels, value));
        };
        let streams = view.counters().streams();
        add(STREAMS, &[], streams.open);
        add(STREAMS_ENDED, &[("end", "finished")], streams.finished);
        add(STREAMS_ENDED, &[("end", "refused")], streams.refused);
        add(STREAMS_ENDED, &[("end", "cut_off")], streams.cut_off);
        let (to_clients, to_services) = view.bytes();
        add(BYTES, &[("direction", "to_clients")], to_clients);
        add(BYTES, &[("direction", "to_services")], to_services);
        for target in view.targets() {
            let name = [("target", target.name.as_str())];
            add(TARGET_UP, &name, u64::from(target.state == "up"));
            add(TARGET_STREAMS, &name, target.live as u64);
        }
    }
    all
}
