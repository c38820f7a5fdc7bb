//! What one connection adds to the metrics.

use std::time::{Duration, Instant};

use super::emit::{Label, Level, count, record};
use super::reason::{Reason, role_name};
use crate::proto::{Event, Role, Stats};

/// How often a connection that is in use tells what it has done. Metrics are scraped less
/// often, and each frame would be dear to count.
const PERIOD: Duration = Duration::from_secs(1);

/// Ends that alerts are for. Their counters begin at 0: an alert on the growth of one does
/// not see what it begins with.
const FAILURES: [&str; 6] = [
    "lost",
    "dead",
    "out_of_memory",
    "violation",
    "version",
    "peer_error",
];

#[derive(Debug)]
pub(super) struct Meter {
    labels: Vec<Label>,
    /// Until the connection ends.
    levels: Option<Levels>,
    last: Option<Stats>,
    at: Instant,
}

#[derive(Debug)]
struct Levels {
    connections: Level,
    channels: Level,
    waiting: Level,
    buffered: Level,
}

impl Meter {
    /// `target` are the labels of whom the connection is to, if they were asked for.
    pub fn new(role: Role, target: &[Label], now: Instant) -> Self {
        let mut labels = vec![Label::new("role", role_name(role))];
        labels.extend_from_slice(target);
        count("tcpchan_connections_opened_total", labels.clone(), 1);
        let meter = Meter {
            levels: Some(Levels {
                connections: Level::new("tcpchan_connections", labels.clone(), 1),
                channels: Level::new("tcpchan_channels", labels.clone(), 0),
                waiting: Level::new("tcpchan_channels_waiting", labels.clone(), 0),
                buffered: Level::new("tcpchan_buffered_bytes", labels.clone(), 0),
            }),
            labels,
            last: None,
            at: now,
        };
        for reason in FAILURES {
            meter.closed(reason, 0);
        }
        meter
    }

    /// When to report, if not now.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.at + PERIOD;
        (now < due).then_some(due)
    }

    /// Publishes what has happened since the last time.
    pub fn report(&mut self, stats: Stats, now: Instant) {
        self.at = now;
        if let Some(rtt) = stats.rtt {
            record("tcpchan_round_trip_seconds", self.labels.clone(), rtt);
        }
        self.publish(stats);
    }

    /// The connection has ended: nothing of it is left, though its channels may still
    /// be held.
    pub fn end(&mut self, stats: Stats) {
        self.levels = None;
        self.publish(stats);
    }

    /// Publishes the rest.
    pub fn publish(&mut self, stats: Stats) {
        let last = self.last.as_ref();
        let since = |value: fn(&Stats) -> u64| value(&stats) - last.map_or(0, value);
        for (name, by, more) in [
            (
                "tcpchan_received_bytes_total",
                None,
                since(|s| s.bytes_received),
            ),
            ("tcpchan_sent_bytes_total", None, since(|s| s.bytes_sent)),
            (
                "tcpchan_channels_opened_total",
                Some("self"),
                since(|s| s.opened),
            ),
            (
                "tcpchan_channels_opened_total",
                Some("peer"),
                since(|s| s.accepted),
            ),
            (
                "tcpchan_channels_refused_total",
                Some("self"),
                since(|s| s.refused_by_self),
            ),
            (
                "tcpchan_channels_refused_total",
                Some("peer"),
                since(|s| s.refused_by_peer),
            ),
            (
                "tcpchan_channels_reset_total",
                Some("self"),
                since(|s| s.reset_by_self),
            ),
            (
                "tcpchan_channels_reset_total",
                Some("peer"),
                since(|s| s.reset_by_peer),
            ),
            (
                "tcpchan_channels_too_slow_total",
                None,
                since(|s| s.too_slow),
            ),
        ] {
            count(name, self.labelled(by.map(|by| ("by", by))), more);
        }
        if let Some(levels) = &mut self.levels {
            levels.connections.set(1);
            levels.channels.set(stats.channels as u64);
            levels.waiting.set(stats.waiting as u64);
            levels.buffered.set(stats.buffered);
        }
        self.last = Some(stats);
    }

    /// Counts an event of the connection.
    pub fn event(&self, event: Event, reason: Reason) {
        let one = |name, label| count(name, self.labelled(Some(label)), 1);
        match event {
            Event::Suspect => {
                count("tcpchan_connections_suspect_total", self.labels.clone(), 1);
            }
            Event::Draining => one("tcpchan_connections_drained_total", ("by", "peer")),
            Event::Drained => one("tcpchan_connections_drained_total", ("by", "self")),
            Event::Closed => {
                let mut word = reason.word;
                if reason.is_stranger {
                    let labels = vec![Label::new("reason", word)];
                    count("tcpchan_strangers_total", labels, 1);
                    word = "stranger";
                }
                self.closed(word, 1);
            }
            _ => {}
        }
    }

    fn closed(&self, reason: &'static str, more: u64) {
        let labels = self.labelled(Some(("reason", reason)));
        count("tcpchan_connections_closed_total", labels, more);
    }

    fn labelled(&self, label: Option<(&'static str, &'static str)>) -> Vec<Label> {
        let more = label.map(|(key, value)| Label::new(key, value));
        self.labels.iter().cloned().chain(more).collect()
    }
}
