//! Receive credit as arithmetic: what a channel's peer may send, what all
//! channels together may be granted.

use std::time::Duration;

/// Bytes of a reply that a channel of ours takes at once, before the connection
/// has learned what its channels need: over a long link each window update
/// costs a round trip.
const FIRST_REPLY: u64 = 1 << 20;

/// The credit of one channel's receive half, in bytes of its stream.
#[derive(Debug)]
pub(super) struct Credit {
    read: u64,
    limit: u64,
    /// Bytes that the limit should stand above what was read; at most 2^31 - 1.
    window: u32,
    /// When the limit was last raised, in microseconds of the connection's
    /// life, which wrap after 71 minutes; 0 for never. A wrong guess after so
    /// long a rest costs nothing but a window of another size.
    granted: u32,
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

    /// Gives back what a channel's credit took: nothing of it is kept any more.
    pub fn release(&mut self, credit: &mut Credit) {
        self.left += u64::from(credit.window).saturating_sub(self.initial);
        credit.window = credit.window.min(self.initial as u32);
    }
}

impl Credit {
    pub fn new(window: u64) -> Self {
        Credit {
            read: 0,
            limit: window,
            window: window as u32,
            granted: 0,
            blocked: false,
        }
    }

    /// The peer says that it has more than this limit allows. Whether that
    /// is news.
    pub fn on_blocked(&mut self, limit: u64) -> bool {
        let before = std::mem::replace(&mut self.blocked, limit == self.limit);
        self.blocked && !before
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub fn window(&self) -> usize {
        self.window as usize
    }

    /// Notes that the application read `n` bytes and whether it has now read
    /// all that came. True when the peer should be told of a higher limit: half
    /// of the window has been used, or the peer waits and nothing else does.
    ///
    /// A window of which half was used up within two round trips is what held
    /// the peer back, so it doubles as far as the budget allows. One that took
    /// sixteen is more than the channel needs, and halves. `at` is the age of
    /// the connection.
    pub fn on_read(
        &mut self,
        n: u64,
        drained: bool,
        at: Duration,
        rtt: Option<Duration>,
        budget: &mut Budget,
    ) -> bool {
        self.read += n;
        let waits = self.blocked && drained;
        if !waits && self.limit - self.read > u64::from(self.window / 2) {
            return false;
        }
        self.blocked = false;
        let at = (at.as_micros() as u32).max(1);
        let took = Duration::from_micros(at.wrapping_sub(self.granted).into());
        match rtt.filter(|_| self.granted != 0) {
            Some(rtt) if took < rtt * 2 => self.grow(budget),
            Some(rtt) if took > rtt * 16 => self.shrink(budget),
            _ => {}
        }
        self.granted = at;
        self.limit = self.read + u64::from(self.window);
        true
    }

    fn grow(&mut self, budget: &mut Budget) {
        let window = u64::from(self.window);
        let room = budget.max_window.saturating_sub(window);
        // Never all that is left: credit that was given can't be taken back.
        let extra = window.min(room).min(budget.left / 2);
        budget.left -= extra;
        self.window += extra as u32;
        budget.learned = budget.learned.max(window + extra);
    }

    /// What the peer may still send is at most half of the window now (if it
    /// waits, nothing), so half of it can go back.
    fn shrink(&mut self, budget: &mut Budget) {
        let least = budget.initial as u32;
        let less = (self.window / 2).max(least).min(self.window);
        budget.left += u64::from(self.window - less);
        self.window = less;
    }
}
