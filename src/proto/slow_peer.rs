//! Peers that take or send a channel's bytes so slowly that they hold it for nothing
//! ([`Config::min_rate`]). The core looks at all channels once a period.

use std::time::{Duration, Instant};

use super::channel::{Channel, Usage};
use super::half::Half;
use super::key::Key;
use super::send_budget::SendBudget;

/// Periods in which a writer is too slow. The bytes of a short message may come in two, and
/// its answer may be late.
const PERIODS: u8 = 3;

/// The lowest rate, and how often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MinRate {
    pub per_second: u32,
    pub period: Duration,
}

impl MinRate {
    fn bytes(self, time: Duration) -> u64 {
        let bytes = u128::from(self.per_second) * time.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The least time over which a reader is judged. Its credit comes in halves of a window,
    /// so one that reads steadily may be silent for half of that.
    fn time_of_reader(self, window: u64) -> Duration {
        let millis = window.saturating_mul(1000) / u64::from(self.per_second);
        self.period.max(Duration::from_millis(millis))
    }
}

/// What the last look saw. It is empty if no rate is set.
#[derive(Debug, Default)]
pub(super) struct SlowPeers {
    /// The next look.
    due: Option<Instant>,
    /// One for each place in the table of channels.
    marks: Vec<Mark>,
    /// Since when each look has found the transport write-blocked, and the bytes sent before.
    blocked: Option<(Instant, u64)>,
}

/// One channel, at an earlier look.
#[derive(Clone, Copy, Debug)]
struct Mark {
    key: Key,
    /// Since when bytes wait for the peer's credit, and the bytes sent before.
    waits: Option<(Instant, u64)>,
    sent: u64,
    received: u64,
    /// Periods in which the peer sent too little, since it sent enough or was sent something.
    slow: u8,
}

impl SlowPeers {
    /// When to look.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// There are channels: looks begin, unless they have.
    #[inline]
    pub fn begin(&mut self, rate: MinRate, now: Instant) {
        self.due.get_or_insert_with(|| now + rate.period);
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.marks.capacity() * size_of::<Mark>()
    }

    /// The channels whose peer is too slow, of those in so many places of the table. None are
    /// named if the transport is write-blocked, since that is nobody's choice of a channel.
    pub fn look<'a>(
        &mut self,
        (channels, places): (impl Iterator<Item = &'a mut Channel>, usize),
        (rate, budget): (MinRate, &SendBudget),
        blocked: bool,
        now: Instant,
    ) -> Vec<Key> {
        self.due = (places > 0).then(|| now + rate.period);
        self.fit(places);
        let mut slow = Vec::new();
        for channel in channels {
            let mark = &mut self.marks[channel.key.index()];
            if mark.key != channel.key {
                *mark = Mark::new(channel);
            }
            let reads = !blocked && mark.reads_too_slowly(channel, (rate, budget), now);
            if reads || mark.writes_too_slowly(channel, rate) {
                slow.push(channel.key);
            }
        }
        slow
    }

    fn fit(&mut self, places: usize) {
        let more = places.saturating_sub(self.marks.len());
        self.marks.reserve_exact(more);
        self.marks.resize(places, Mark::NONE);
        self.marks.shrink_to_fit();
    }

    /// Whether the transport, which is write-blocked or not, takes too little.
    pub fn is_link_too_slow(
        &mut self,
        rate: MinRate,
        blocked: bool,
        sent: u64,
        now: Instant,
    ) -> bool {
        if !blocked {
            self.blocked = None;
            return false;
        }
        let (since, before) = *self.blocked.get_or_insert((now, sent));
        if now < since + rate.period {
            return false;
        }
        self.blocked = Some((now, sent));
        sent - before < rate.bytes(now - since)
    }
}

impl Mark {
    /// That of a place where no channel was.
    const NONE: Mark = Mark {
        key: Key::NONE,
        waits: None,
        sent: 0,
        received: 0,
        slow: 0,
    };

    fn new(channel: &Channel) -> Self {
        Mark {
            key: channel.key,
            sent: channel.send.credit.sent,
            received: channel.recv.credit.received,
            ..Mark::NONE
        }
    }

    /// Whether the peer has taken too little of what waits for its credit.
    fn reads_too_slowly(
        &mut self,
        channel: &Channel,
        (rate, budget): (MinRate, &SendBudget),
        now: Instant,
    ) -> bool {
        let (send, waiting) = (&channel.send, channel.send.buffer.len());
        let waits = send.half.is_alive() && waiting > 0 && !channel.can_send(waiting, budget);
        if !waits {
            self.waits = None;
            return false;
        }
        let (since, before) = *self.waits.get_or_insert((now, send.credit.sent));
        let time = now - since;
        if time < rate.time_of_reader(budget.window()) {
            return false;
        }
        self.waits = Some((now, send.credit.sent));
        send.credit.sent - before < rate.bytes(time)
    }

    /// Whether the peer has sent something, but too little, in several periods since
    /// something was sent to it.
    fn writes_too_slowly(&mut self, channel: &Channel, rate: MinRate) -> bool {
        let (recv, sent) = (&channel.recv, channel.send.credit.sent);
        let came = recv.credit.received - self.received;
        let answered = sent != self.sent || !channel.send.buffer.is_empty();
        let waited_for = recv.half == Half::Open
            && recv.buffer.is_empty()
            && matches!(channel.usage, Usage::Accepted | Usage::Used);
        (self.sent, self.received) = (sent, recv.credit.received);
        if answered || came >= rate.bytes(rate.period) {
            self.slow = 0;
        } else if waited_for && came > 0 {
            self.slow += 1; // silence is no excuse for what comes behind it
            return self.slow >= PERIODS;
        }
        false
    }
}
