//! Looks at the services, for [`Document`].

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tcpchan::{ConnectionStats, Identity};

use super::document::{Connection, ConnectionStreams, Document, Service, Target};
use super::rates::{Rates, Sample};
use crate::service::Running;
use crate::targets::TargetView;

/// Connections that a document has. It says how many it leaves out.
const MOST: usize = 1000;

/// Names of a peer that are shown, and their bytes. A certificate may have many and long ones.
const NAMES: usize = 4;
const NAME: usize = 128;

#[derive(Default)]
pub struct Looker(Mutex<Rates>);

/// A connection, and the target that it leads to.
type Seen = (Option<String>, ConnectionStats);

impl Looker {
    pub fn look(&self, services: &[Running]) -> Document {
        let now = Instant::now();
        let mut left = MOST;
        let seen: Vec<(Vec<Seen>, usize)> = services
            .iter()
            .map(|service| {
                let mut seen = service.view.connections();
                seen.sort_by_key(|(_, one)| std::cmp::Reverse(one.stats.channels));
                let left_out = seen.len().saturating_sub(left);
                seen.truncate(left);
                left -= seen.len();
                (seen, left_out)
            })
            .collect();
        let all: Vec<_> = seen.iter().flat_map(|(seen, _)| seen).collect();
        let all: Vec<_> = all.iter().map(|(_, one)| one).collect();
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut samples = rates.look(&all, now).into_iter();
        drop(rates);
        let services = services.iter().zip(seen);
        Document {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services: services
                .map(|(running, (seen, left_out))| service(running, seen, left_out, &mut samples))
                .collect(),
            ..Document::default()
        }
    }
}

fn service(
    running: &Running,
    seen: Vec<Seen>,
    left_out: usize,
    samples: &mut impl Iterator<Item = Sample>,
) -> Service {
    let view = &running.view;
    let (to_clients, to_services) = view.bytes();
    let connections = seen.into_iter().zip(samples);
    Service {
        name: view.label().name().to_owned(),
        mode: view.mode().to_owned(),
        listen: running.listen.clone(),
        streams: view.counters().streams(),
        bytes_to_clients: to_clients,
        bytes_to_services: to_services,
        targets: view.targets().iter().map(target).collect(),
        connections: connections.map(connection).collect(),
        connections_left_out: left_out,
    }
}

fn target(view: &TargetView) -> Target {
    Target {
        name: view.name.clone(),
        state: view.state.to_owned(),
        streams: view.live as u64,
        waiting: view.link.as_ref().map(|link| link.waiting as u64),
        dials: view.link.as_ref().map(|link| link.dials),
        dials_failed: view.link.as_ref().map(|link| link.failed),
    }
}

fn connection(((target, one), sample): (Seen, Sample)) -> Connection {
    let stats = one.stats;
    // At a unix socket it is of nobody.
    let peer_addr = one.peer_addr.filter(|addr| !addr.ip().is_unspecified());
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Connection {
        key: sample.number,
        id: stats.connection_id.map(|id| format!("{id:016x}")),
        peer: peer_addr.map(|addr| addr.to_string()),
        target,
        identity: one.identity.as_ref().map(names),
        state: state(&one).to_owned(),
        version: stats.version.map(|version| version as u8),
        age_seconds: stats.since.elapsed().as_secs_f64(),
        silent_seconds: stats.heard.elapsed().as_secs_f64(),
        round_trip_ms: stats.rtt.map(milliseconds),
        shortest_round_trip_ms: stats.min_rtt.map(milliseconds),
        streams: ConnectionStreams {
            open: stats.channels.saturating_sub(stats.awaiting_end) as u64,
            ending: stats.awaiting_end as u64,
            available: stats.available.into(),
            total: stats.opened + stats.accepted,
            refused: stats.refused_by_peer + stats.refused_by_self,
            reset: stats.reset_by_peer + stats.reset_by_self,
        },
        sent_bytes: stats.bytes_sent,
        received_bytes: stats.bytes_received,
        unread_bytes: stats.buffered,
        sent_bytes_per_second: sample.rates.map(|(sent, _)| sent.round()),
        received_bytes_per_second: sample.rates.map(|(_, received)| received.round()),
        limited_to_bytes_per_second: one.throughput.limited.map(|limit| limit.bytes_per_second),
    }
}

fn state(one: &ConnectionStats) -> &'static str {
    match one.stats {
        stats if stats.draining => "draining",
        stats if stats.suspect => "suspect",
        stats if stats.version.is_none() => "connecting",
        _ => "up",
    }
}

/// The peer's CA has vouched for the names. Even so, they must not reach a terminal as they
/// are.
fn names(identity: &Identity) -> Vec<String> {
    let shown = |name: String| {
        let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        name.chars().take(NAME).map(plain).collect()
    };
    identity
        .names()
        .into_iter()
        .take(NAMES)
        .map(shown)
        .collect()
}
