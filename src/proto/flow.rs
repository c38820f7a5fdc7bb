//! Receive credit as arithmetic: what a channel's peer may send, what all
//! channels together may be granted.

use std::time::{Duration, Instant};

/// Bytes of a reply that a channel of ours takes at once, before the connection
/// has learned what its channels need: over a long link each window update
/// costs a round trip.
const FIRST_REPLY: u64 = 1 << 20;

/// The credit of one channel's receive half, in bytes of its stream.
#[derive(Debug)]
pub(super) struct Credit {
    read: u64,
    limit: u64,
    /// Bytes that the limit should stand above what was read.
    window: u64,
    granted: Option<Instant>,
    /// The peer has used up the limit and has more.
    blocked: bool,
}

/// What the windows of one connection may grow by in total.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    initial: u64,
    max_window: u64,
    /// The window that channels of this connection were last found to need.
    learned: u64,
}

impl Budget {
    pub fn new(left: u64, initial: u64, max_window: u64) -> Self {
        Budget {
            left,
            initial,
            max_window,
            learned: FIRST_REPLY.clamp(initial, max_window.max(initial)),
        }
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    /// The window for a new channel of ours: the learned one, if a sixteenth
    /// of what is left pays for it, so that many channels get something.
    pub fn for_open(&mut self) -> u64 {
        let extra = (self.learned - self.initial).min(self.left / 16);
        self.left -= extra;
        self.initial + extra
    }

    /// Gives back what a channel's credit took.
    pub fn release(&mut self, credit: &Credit) {
        self.left += credit.window - self.initial;
    }
}

impl Credit {
    pub fn new(window: u64) -> Self {
        Credit {
            read: 0,
            limit: window,
            window,
            granted: None,
            blocked: false,
        }
    }

    /// The peer says that it has more than this limit allows.
    pub fn on_blocked(&mut self, limit: u64) {
        self.blocked = limit == self.limit;
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Notes that the application read `n` bytes and whether it has now read
    /// all that came. True when the peer should be told of a higher limit: half
    /// of the window has been used, or the peer waits and nothing else does.
    ///
    /// A window of which half was used up within two round trips is what held
    /// the peer back, so it doubles as far as the budget allows. One that took
    /// sixteen is more than the channel needs, and halves.
    pub fn on_read(
        &mut self,
        n: u64,
        drained: bool,
        now: Instant,
        rtt: Option<Duration>,
        budget: &mut Budget,
    ) -> bool {
        self.read += n;
        let waits = self.blocked && drained;
        if !waits && self.limit - self.read > self.window / 2 {
            return false;
        }
        self.blocked = false;
        let took = self
            .granted
            .zip(rtt)
            .map(|(at, rtt)| (now.saturating_duration_since(at), rtt));
        match took {
            Some((time, rtt)) if time < rtt * 2 => self.grow(budget),
            Some((time, rtt)) if time > rtt * 16 => self.shrink(budget),
            _ => {}
        }
        self.granted = Some(now);
        self.limit = self.read + self.window;
        true
    }

    fn grow(&mut self, budget: &mut Budget) {
        let room = budget.max_window.saturating_sub(self.window);
        let extra = self.window.min(room).min(budget.left);
        budget.left -= extra;
        self.window += extra;
        budget.learned = budget.learned.max(self.window);
    }

    /// What the peer may still send is at most half of the window now (if it
    /// waits, nothing), so half of it can go back.
    fn shrink(&mut self, budget: &mut Budget) {
        let less = (self.window / 2).max(budget.initial);
        budget.left += self.window.saturating_sub(less);
        self.window = self.window.min(less);
    }
}
