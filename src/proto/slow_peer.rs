//! Peers that take or send a channel's bytes so slowly that they hold it for nothing
//! ([`Config::min_rate`]). The core looks at all channels once a period.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::channel::{Channel, Usage};
use super::half::Half;
use super::key::Key;
use super::send_budget::SendBudget;

/// Periods in a row in which a writer is too slow. A short message may begin in one and end
/// in the next.
const PERIODS: u8 = 2;

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
    marks: HashMap<Key, Mark>,
    /// Since when each look has found the transport write-blocked, and the bytes sent before.
    blocked: Option<(Instant, u64)>,
}

/// One channel, at an earlier look.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Since when bytes wait for the peer's credit, and the bytes sent before.
    waits: Option<(Instant, u64)>,
    sent: u64,
    received: u64,
    /// Periods in a row in which the peer sent too little.
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

    /// The channels whose peer is too slow. None are named if the transport is write-blocked,
    /// since that is nobody's choice of a channel.
    pub fn look<'a>(
        &mut self,
        channels: impl Iterator<Item = &'a mut Channel>,
        (rate, budget): (MinRate, &SendBudget),
        blocked: bool,
        now: Instant,
    ) -> Vec<Key> {
        let (mut slow, mut seen) = (Vec::new(), HashMap::new());
        for channel in channels {
            let known = self.marks.remove(&channel.key);
            let mut mark = known.unwrap_or_else(|| Mark::new(channel));
            let reads = !blocked && mark.reads_too_slowly(channel, (rate, budget), now);
            if reads || mark.writes_too_slowly(channel, rate) {
                slow.push(channel.key);
            } else {
                seen.insert(channel.key, mark);
            }
        }
        self.due = (!seen.is_empty()).then(|| now + rate.period);
        self.marks = seen;
        slow
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
    fn new(channel: &Channel) -> Self {
        Mark {
            waits: None,
            sent: channel.send.credit.sent,
            received: channel.recv.credit.received,
            slow: 0,
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

    /// Whether the peer has sent something, but too little, while nothing was sent to it.
    fn writes_too_slowly(&mut self, channel: &Channel, rate: MinRate) -> bool {
        let (recv, sent) = (&channel.recv, channel.send.credit.sent);
        let came = recv.credit.received - self.received;
        let quiet = sent == self.sent && channel.send.buffer.is_empty();
        let waited_for = recv.half == Half::Open
            && recv.buffer.is_empty()
            && matches!(channel.usage, Usage::Accepted | Usage::Used);
        let slow = waited_for && quiet && came > 0 && came < rate.bytes(rate.period);
        (self.sent, self.received) = (sent, recv.credit.received);
        self.slow = if slow { self.slow + 1 } else { 0 };
        self.slow >= PERIODS
    }
}
