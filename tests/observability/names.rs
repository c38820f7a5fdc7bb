//! The names of the metrics: those that the crate describes are those of the page, and
//! the dashboard and the alerts have no others.
#![cfg(feature = "metrics")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tcpchan::observability::describe_metrics;

const DOCS: &str = include_str!("../../src/observability/OBSERVABILITY.md");
const COMMAND: &str = include_str!("../../src/guide/command_admin.md");
const ALERTS: &str = include_str!("../../observability/alerts.yml");
pub const DASHBOARD: &str = include_str!("../../observability/dashboard.json");

/// The kind of each metric, by its name.
type Kinds = BTreeMap<String, &'static str>;

/// Keeps what is described.
#[derive(Default)]
struct Described(Mutex<Kinds>);

impl Described {
    fn add(&self, name: &KeyName, kind: &'static str) {
        let before = self
            .0
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), kind);
        assert!(before.is_none(), "{} twice", name.as_str());
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.add(&name, "counter");
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.add(&name, "gauge");
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.add(&name, "histogram");
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

pub fn described() -> Kinds {
    let described = Described::default();
    metrics::with_local_recorder(&described, describe_metrics);
    described.0.into_inner().unwrap()
}

/// The names of a text, without what Prometheus adds to those of histograms.
fn names_in(text: &str) -> BTreeSet<String> {
    let histogram = |name: &str| described().get(name) == Some(&"histogram");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("tcpchan_"));
    let bare = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        let bare = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        bare.filter(|bare| histogram(bare))
            .unwrap_or(name)
            .to_owned()
    };
    names.map(bare).collect()
}

#[test]
fn the_pages_table_has_those_that_the_crate_describes() {
    let rows = DOCS
        .lines()
        .filter_map(|row| row.strip_prefix("| `tcpchan_"));
    let table = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let kinds = ["counter", "gauge", "histogram"];
        let kind = kinds.into_iter().find(|kind| *kind == cells[1]);
        (
            format!("tcpchan_{}", cells[0].trim_matches('`')),
            kind.expect("a kind"),
        )
    });
    assert_eq!(table.collect::<Kinds>(), described());
}

/// The rows of the metrics, and of those of the command, in their tables.
fn rows() -> impl Iterator<Item = &'static str> {
    let rows = DOCS.lines().chain(COMMAND.lines());
    rows.filter(|row| row.starts_with("| `tcpchan_"))
}

#[test]
fn the_dashboard_shows_all_of_them_and_no_others() {
    let names = rows().filter_map(|row| row.split('`').nth(1));
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert_eq!(names_in(DASHBOARD), names);
}

#[test]
fn the_alerts_are_on_these() {
    let described: BTreeSet<String> = described().into_keys().collect();
    let named = names_in(ALERTS);
    assert!(named.len() >= 7, "{named:?}");
    assert_eq!(named.difference(&described).next(), None);
}

/// A label that a metric does not have matches nothing, or everything.
#[test]
fn the_alerts_and_the_dashboard_use_the_labels_of_the_page() {
    let mut labels = BTreeSet::from(["instance", "job", "le", "datasource"].map(str::to_owned));
    for row in rows() {
        let cell = row.split('|').nth(3).expect("labels");
        labels.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    for text in [ALERTS, &DASHBOARD.replace("\\\"", "\"")] {
        let selectors = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next());
        let matchers = selectors.flat_map(|inside| inside.split(','));
        let names = matchers.filter_map(|matcher| matcher.split_once(['=', '!']));
        let names: BTreeSet<&str> = names.map(|(name, _)| name.trim()).collect();
        assert!(names.contains("error_type"), "{names:?}");
        for name in names {
            assert!(labels.contains(name), "{name}");
        }
    }
}

/// As `promtool check metrics` has them: <https://prometheus.io/docs/practices/naming/>.
#[test]
fn names_follow_prometheus_conventions() {
    let mut counters = 0;
    for row in rows() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, kind) = (cells[1].trim_matches('`'), cells[2]);
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.chars().all(plain), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let unit = name.trim_end_matches("_total");
        for part in unit.split('_') {
            let scaled = [
                "ms",
                "us",
                "ns",
                "kib",
                "kb",
                "milliseconds",
                "percent",
                "count",
            ];
            assert!(!scaled.contains(&part), "{name} has no base unit");
        }
        if kind == "histogram" {
            assert!(unit.ends_with("_seconds"), "{name}");
        }
        counters += usize::from(kind == "counter");
    }
    assert!(counters >= 10);
}
