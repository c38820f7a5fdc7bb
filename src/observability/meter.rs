//! Metrics.

#[cfg(feature = "metrics")]
pub use self::published::describe_metrics;
#[cfg(feature = "metrics")]
pub(crate) use self::published::{Meter, event};

#[cfg(not(feature = "metrics"))]
pub(crate) use self::nothing::Meter;

#[cfg(not(feature = "metrics"))]
mod nothing {
    use std::time::Instant;

    use crate::proto::{Role, Stats};

    #[derive(Debug)]
    pub(crate) struct Meter;

    impl Meter {
        pub fn new(_: Role, _: Instant) -> Self {
            Meter
        }

        pub fn look(&mut self, _: Instant, _: impl FnOnce() -> Stats) -> Option<Instant> {
            None
        }

        pub fn finish(&mut self, _: impl FnOnce() -> Stats) {}
    }
}

#[cfg(feature = "metrics")]
mod published {
    use std::time::{Duration, Instant};

    use metrics::{
        Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    };

    use super::super::{Reason, role_name};
    use crate::proto::{Event, Role, Stats};

    /// How often a connection that is in use tells what it has done.
    const PERIOD: Duration = Duration::from_secs(1);

    /// Publishes what a connection does; taken back when it is dropped.
    #[derive(Debug)]
    pub(crate) struct Meter {
        role: &'static str,
        last: Option<Stats>,
        at: Instant,
    }

    impl Meter {
        pub fn new(role: Role, now: Instant) -> Self {
            let role = role_name(role);
            gauge!("tcpchan_connections", "role" => role).increment(1);
            counter!("tcpchan_connections_opened_total", "role" => role).increment(1);
            let last = None;
            Meter {
                role,
                last,
                at: now,
            }
        }

        /// Called when something has happened: publishes it, or says when to
        /// call again.
        pub fn look(&mut self, now: Instant, stats: impl FnOnce() -> Stats) -> Option<Instant> {
            let due = self.at + PERIOD;
            if now < due {
                return Some(due);
            }
            self.at = now;
            let stats = stats();
            if let Some(rtt) = stats.rtt {
                histogram!("tcpchan_round_trip_seconds", "role" => self.role).record(rtt);
            }
            self.publish(stats);
            None
        }

        /// Publishes the rest.
        pub fn finish(&mut self, stats: impl FnOnce() -> Stats) {
            self.publish(stats());
        }

        fn publish(&mut self, stats: Stats) {
            let last = self.last.as_ref();
            let role = self.role;
            let since = |value: fn(&Stats) -> u64| value(&stats) - last.map_or(0, value);
            let counts = [
                ("tcpchan_received_bytes_total", since(|s| s.bytes_received)),
                ("tcpchan_sent_bytes_total", since(|s| s.bytes_sent)),
            ];
            for (name, count) in counts {
                counter!(name, "role" => role).increment(count);
            }
            let by_side = [
                ("tcpchan_channels_opened_total", "self", since(|s| s.opened)),
                (
                    "tcpchan_channels_opened_total",
                    "peer",
                    since(|s| s.accepted),
                ),
                (
                    "tcpchan_channels_refused_total",
                    "self",
                    since(|s| s.refused_by_self),
                ),
                (
                    "tcpchan_channels_refused_total",
                    "peer",
                    since(|s| s.refused_by_peer),
                ),
                (
                    "tcpchan_channels_reset_total",
                    "self",
                    since(|s| s.reset_by_self),
                ),
                (
                    "tcpchan_channels_reset_total",
                    "peer",
                    since(|s| s.reset_by_peer),
                ),
            ];
            for (name, by, count) in by_side {
                counter!(name, "role" => role, "by" => by).increment(count);
            }
            self.level(stats.channels as f64, stats.buffered as f64);
            self.last = Some(stats);
        }

        /// Moves the gauges from what this connection added to them before.
        fn level(&self, channels: f64, buffered: f64) {
            let last = self.last.as_ref();
            let was = last.map_or((0, 0), |last| (last.channels as u64, last.buffered));
            let channels = channels - was.0 as f64;
            let buffered = buffered - was.1 as f64;
            gauge!("tcpchan_channels", "role" => self.role).increment(channels);
            gauge!("tcpchan_buffered_bytes", "role" => self.role).increment(buffered);
        }
    }

    impl Drop for Meter {
        fn drop(&mut self) {
            self.level(0.0, 0.0);
            gauge!("tcpchan_connections", "role" => self.role).decrement(1);
        }
    }

    pub(crate) fn event(role: Role, event: Event, reason: Reason) {
        let role = role_name(role);
        let drained = |by: &'static str| {
            counter!("tcpchan_connections_drained_total", "role" => role, "by" => by).increment(1);
        };
        match event {
            Event::Suspect => {
                counter!("tcpchan_connections_suspect_total", "role" => role).increment(1);
            }
            Event::Draining => drained("peer"),
            Event::Drained => drained("self"),
            Event::Closed => {
                let mut word = reason.word;
                if reason.is_stranger {
                    counter!("tcpchan_strangers_total", "reason" => word).increment(1);
                    word = "stranger";
                }
                counter!("tcpchan_connections_closed_total", "role" => role, "reason" => word)
                    .increment(1);
            }
            _ => {}
        }
    }

    /// Tells the recorder what the metrics are and their units. To be called
    /// once the recorder is installed, if at all.
    pub fn describe_metrics() {
        let counters = [
            (
                "tcpchan_connections_opened_total",
                Unit::Count,
                "connections so far",
            ),
            (
                "tcpchan_connections_closed_total",
                Unit::Count,
                "connections that ended",
            ),
            (
                "tcpchan_strangers_total",
                Unit::Count,
                "connections to acceptors that ended before a hello",
            ),
            (
                "tcpchan_connections_suspect_total",
                Unit::Count,
                "how often a connection became suspect",
            ),
            (
                "tcpchan_connections_drained_total",
                Unit::Count,
                "connections that were asked to take no more channels",
            ),
            (
                "tcpchan_channels_opened_total",
                Unit::Count,
                "channels so far",
            ),
            (
                "tcpchan_channels_refused_total",
                Unit::Count,
                "channels that the side that did not open them refused",
            ),
            (
                "tcpchan_channels_reset_total",
                Unit::Count,
                "channels that one side gave up before their end",
            ),
            (
                "tcpchan_received_bytes_total",
                Unit::Bytes,
                "bytes received, with the protocol's own",
            ),
            (
                "tcpchan_sent_bytes_total",
                Unit::Bytes,
                "bytes sent, with the protocol's own",
            ),
            ("tcpchan_dials_total", Unit::Count, "dials"),
            (
                "tcpchan_accept_errors_total",
                Unit::Count,
                "failures to accept a connection",
            ),
            (
                "tcpchan_handshakes_failed_total",
                Unit::Count,
                "handshakes that failed or took too long",
            ),
        ];
        for (name, unit, text) in counters {
            describe_counter!(name, unit, text);
        }
        let gauges = [
            ("tcpchan_connections", Unit::Count, "connections there are"),
            ("tcpchan_channels", Unit::Count, "channels there are"),
            (
                "tcpchan_buffered_bytes",
                Unit::Bytes,
                "received bytes that wait to be read",
            ),
        ];
        for (name, unit, text) in gauges {
            describe_gauge!(name, unit, text);
        }
        let histograms = [
            (
                "tcpchan_round_trip_seconds",
                "the smoothed round-trip time of connections in use",
            ),
            ("tcpchan_dial_seconds", "how long dials took"),
        ];
        for (name, text) in histograms {
            describe_histogram!(name, Unit::Seconds, text);
        }
    }
}
