//! The names of the metrics, their units, and buckets for them.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Recommended upper bounds of the buckets of every histogram here, all of which are in
/// seconds: from a round trip on one host to a dial that takes as long as it may.
///
/// With the exporter for Prometheus:
/// `set_buckets_for_metric(Matcher::Prefix("tcpchan_".into()), &BUCKETS)`.
pub const BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

const COUNTERS: [(&str, Unit, &str); 15] = [
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
        "tcpchan_channels_too_slow_total",
        Unit::Count,
        "channels whose peer was slower than min_rate",
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
    (
        "tcpchan_http_connections_opened_total",
        Unit::Count,
        "HTTP connections of shared ports so far",
    ),
    (
        "tcpchan_accept_errors_total",
        Unit::Count,
        "failures to accept a connection",
    ),
    (
        "tcpchan_connections_refused_total",
        Unit::Count,
        "connections that a limit refused",
    ),
    (
        "tcpchan_connections_held_back_total",
        Unit::Count,
        "connections that waited for the violations of their network",
    ),
];

const GAUGES: [(&str, Unit, &str); 6] = [
    (
        "tcpchan_connections",
        Unit::Count,
        "connections that are up or being set up",
    ),
    ("tcpchan_channels", Unit::Count, "channels of those"),
    (
        "tcpchan_channels_waiting",
        Unit::Count,
        "channels that wait to be accepted",
    ),
    (
        "tcpchan_buffered_bytes",
        Unit::Bytes,
        "received bytes of those that wait to be read",
    ),
    (
        "tcpchan_waiting_callers",
        Unit::Count,
        "callers that wait for a channel",
    ),
    (
        "tcpchan_http_connections",
        Unit::Count,
        "HTTP connections of shared ports",
    ),
];

const HISTOGRAMS: [(&str, &str); 4] = [
    (
        "tcpchan_round_trip_seconds",
        "the smoothed round-trip time of connections in use",
    ),
    (
        "tcpchan_dial_duration_seconds",
        "how long dials took, with the peer's hello",
    ),
    (
        "tcpchan_open_duration_seconds",
        "how long callers took to get a channel",
    ),
    (
        "tcpchan_handshake_duration_seconds",
        "how long handshakes with clients took",
    ),
];

/// Tells the recorder what the metrics are and their units. To be called
/// once the recorder is installed, if at all.
pub fn describe_metrics() {
    for (name, unit, text) in COUNTERS {
        describe_counter!(name, unit, text);
    }
    for (name, unit, text) in GAUGES {
        describe_gauge!(name, unit, text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, text);
    }
}
