//! One connection of a target, as its pool sees it.

use std::time::{Duration, Instant};

use super::addresses::AddressId;
use super::link::{Health, Link, Seen};
use super::outlier::Outlier;
use super::select::{Snapshot, Standing};
use crate::backoff::SHORT;
use crate::client::settings::Settings;

/// How long a connection gets few channels at first. Those that stay, such as web
/// sockets, are spread evenly after that.
const NEW: Duration = Duration::from_secs(10);

/// Round trips over which its rate is taken, and the shortest that count, as those of
/// [`ThroughputLimited`](crate::driver::ThroughputLimited).
const SAMPLE: u32 = 4;
const LEAST_RTT: Duration = Duration::from_millis(20);

/// How long a task that was not run may take to begin, where the whole process was held
/// up.
const RESUMES: Duration = Duration::from_millis(5);

pub(super) struct Pooled<L> {
    pub link: L,
    /// Where it goes, while the target has the address.
    pub address: Option<AddressId>,
    since: Instant,
    /// To be replaced: it gets channels only while no other can.
    retiring: bool,
    /// The peer has answered, and has stayed for a while or served a channel.
    good: bool,
    /// When it got the first channel since the peer was heard.
    asked: Option<Instant>,
    /// When its task was first found not to have run for long.
    stalled: Option<Instant>,
    expires: Option<Instant>,
    most_opened: u64,
    outlier: Outlier,
    carried: Carried,
}

/// What it has carried of late.
struct Carried {
    since: Instant,
    bytes: u64,
    rate: u64,
}

impl Carried {
    /// Bytes a second.
    fn rate(&mut self, seen: &Seen, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= seen.rtt.unwrap_or_default().max(LEAST_RTT) * SAMPLE {
            let bytes = (seen.bytes - self.bytes) as f64;
            self.rate = (bytes / elapsed.as_secs_f64()) as u64;
            (self.since, self.bytes) = (now, seen.bytes);
        }
        self.rate
    }
}

impl<L: Link> Pooled<L> {
    pub fn new(link: L, address: Option<AddressId>, settings: &Settings, now: Instant) -> Self {
        let pool = &settings.pool;
        let age = pool.max_age.map(|age| age.mul_f64(some_chance()));
        Pooled {
            link,
            address,
            since: now,
            retiring: false,
            good: false,
            asked: None,
            stalled: None,
            expires: age.and_then(|age| now.checked_add(age)),
            most_opened: (f64::from(pool.max_opened) * some_chance()).max(1.0) as u64,
            outlier: Outlier::default(),
            carried: Carried {
                since: now,
                bytes: 0,
                rate: 0,
            },
        }
    }

    /// Notes what the connection shows.
    pub fn snapshot(&mut self, seen: &Seen, suspect_after: Duration, now: Instant) -> Snapshot {
        self.retiring |= self.expires.is_some_and(|at| at <= now);
        self.retiring |= seen.opened >= self.most_opened;
        self.retiring |= self.address.is_none();
        self.good |= seen.greeted && (!self.is_young(now) || seen.answered > 0);
        self.asked = self.asked.filter(|asked| *asked > seen.heard);
        match seen.overdue >= suspect_after {
            true => _ = self.stalled.get_or_insert(now),
            false => self.stalled = None,
        }
        self.outlier.look(seen, now);
        Snapshot {
            address: self.address,
            standing: self.standing(seen, suspect_after, now),
            greeted: seen.greeted,
            retiring: self.retiring,
            ejected: self.outlier.is_ejected(now),
            broken: self.outlier.is_broken(),
            is_new: now < self.since + NEW,
            channels: seen.channels,
            available: seen.available,
            answered: seen.answered,
            bytes: seen.bytes,
            rate: self.carried.rate(seen, now),
            rtt: seen.rtt,
            heard: seen.heard,
            unanswered_for: self.asked.map_or(Duration::ZERO, |asked| now - asked),
            saturated: seen.saturated,
            throughput_limited: seen.throughput_limited,
        }
    }

    /// A peer that leaves the hello unanswered for `suspect_after` is no better than a suspect
    /// one.
    fn standing(&self, seen: &Seen, suspect_after: Duration, now: Instant) -> Standing {
        let silent = !seen.greeted && now >= self.since + suspect_after;
        match self.stalled {
            _ if silent || !matches!(seen.health, Health::Well) => Standing::Suspect,
            Some(since) if now < since + RESUMES => Standing::Stalled,
            Some(_) => Standing::Suspect,
            None => Standing::Healthy,
        }
    }

    pub fn open(&mut self, now: Instant) -> Option<L::Channel> {
        let channel = self.link.open()?;
        self.asked.get_or_insert(now);
        self.outlier.on_open(now);
        Some(channel)
    }

    pub fn is_good(&self) -> bool {
        self.good
    }

    /// Whether the connection is too new for its end to be chance.
    pub fn is_young(&self, now: Instant) -> bool {
        now < self.since + SHORT
    }

    /// When something about it changes of itself.
    pub fn next(&self, suspect_after: Duration, now: Instant) -> Option<Instant> {
        let age = self.expires.filter(|_| !self.retiring);
        let (hello, old) = (Some(self.since + suspect_after), Some(self.since + SHORT));
        let resumes = self.stalled.map(|since| since + RESUMES);
        let times = [age, hello, old, resumes];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }
}

/// From 0.9 to 1.1, so that what began together does not end together.
fn some_chance() -> f64 {
    0.9 + fastrand::f64() / 5.0
}
