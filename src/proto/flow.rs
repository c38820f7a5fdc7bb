//! Receive credit as arithmetic: what a channel's peer may send, what all
//! channels together may be granted.

use std::time::Duration;

/// Bytes that a channel may carry at once before the connection has learned
/// what its channels need: 1 MiB with its headers. Over a long link each window
/// update costs a round trip.
const FIRST: u64 = (1 << 20) + (64 << 10);

/// Channels to come share a quarter of what is left, and that many at least
/// get something of it.
const LEAST_AHEAD: u64 = 8;

/// The credit of one channel's receive half, in bytes of its stream.
#[derive(Debug)]
pub(super) struct Credit {
    read: u64,
    /// What the peer was told by WINDOW, or else by the settings.
    limit: u64,
    /// Bytes that the limit should stand above what was read; at most 2^31 - 1.
    /// Before the first WINDOW the peer may know of it by AHEAD.
    window: u32,
    /// When the limit was last raised, in microseconds of the connection's
    /// life, which wrap after 71 minutes; 0 for never. A wrong guess after so
    /// long a rest costs nothing but a window of another size.
    granted: u32,
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
            learned: FIRST.clamp(initial, max_window.max(initial)),
        }
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    /// The window for a new channel of ours: the learned one, if a sixteenth
    /// of what is left pays for it, so that many channels get something.
    pub fn for_open(&mut self) -> u64 {
        self.initial + self.take(self.learned - self.initial)
    }

    /// Takes up to so much, and at most a sixteenth of what is left.
    fn take(&mut self, most: u64) -> u64 {
        let extra = most.min(self.left / 16);
        self.left -= extra;
        extra
    }

    /// Gives back what a channel's credit took: nothing of it is kept any more.
    pub fn release(&mut self, credit: &mut Credit) {
        credit.limit = credit.allowed();
        self.left += u64::from(credit.window).saturating_sub(self.initial);
        credit.window = credit.window.min(self.initial as u32);
    }
}

impl Credit {
    /// The peer was told of `limit`, and may know of `window`.
    pub fn new(limit: u64, window: u64) -> Self {
        Credit {
            read: 0,
            limit,
            window: window as u32,
            granted: 0,
        }
    }

    /// Whether the peer can know of this limit and of no higher one.
    pub fn is_known(&self, limit: u64) -> bool {
        limit == self.limit || limit == self.allowed()
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How far the peer may send.
    pub fn allowed(&self) -> u64 {
        match self.granted {
            0 => self.limit.max(self.window.into()),
            _ => self.limit,
        }
    }

    pub fn window(&self) -> usize {
        self.window as usize
    }

    /// Notes that the application read `n` bytes, and whether the peer `waits` for
    /// it now. True when the peer should be told of a higher limit: half of the
    /// window that it surely knows has been used, or it waits.
    ///
    /// The first time, the window becomes what the connection has learned. A
    /// window of which half was used up within two round trips is what held
    /// the peer back, so it doubles as far as the budget allows. One that took
    /// sixteen is more than the channel needs, and halves. `at` is the age of
    /// the connection.
    pub fn on_read(
        &mut self,
        n: u64,
        waits: bool,
        at: impl FnOnce() -> Duration,
        rtt: Option<Duration>,
        budget: &mut Budget,
    ) -> bool {
        self.read += n;
        let first = self.granted == 0;
        let known = if first {
            self.limit
        } else {
            self.window.into()
        };
        if !waits && self.limit.saturating_sub(self.read) > known / 2 {
            return false;
        }
        let at = (at().as_micros() as u32).max(1);
        let took = Duration::from_micros(at.wrapping_sub(self.granted).into());
        match rtt {
            _ if first => self.learn(budget),
            Some(rtt) if took < rtt * 2 => self.grow(budget),
            Some(rtt) if took > rtt * 16 => self.shrink(budget),
            _ => {}
        }
        self.granted = at;
        self.limit = self.read + u64::from(self.window);
        true
    }

    fn learn(&mut self, budget: &mut Budget) {
        let less = budget.learned.saturating_sub(self.window.into());
        self.window += budget.take(less) as u32;
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

/// What the next channels of the peer may send at once (W10).
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The last number that it is for.
    last: u32,
    /// For each, above the initial window.
    extra: u64,
    /// Channels that it was for when it was told.
    count: u32,
}

impl Ahead {
    /// The window of a channel that the peer opens: paid for when it was told.
    pub fn for_open(&self, id: u32, initial: u64) -> u64 {
        match id <= self.last {
            true => initial + self.extra,
            false => initial,
        }
    }

    /// The last number and the limit, as the peer is told.
    pub fn told(&self, initial: u64) -> (u32, u64) {
        (self.last, initial + self.extra)
    }

    /// Bytes that are set aside for channels from `next` on.
    pub fn held(&self, next: u32) -> u64 {
        u64::from(self.left(next)) * self.extra
    }

    /// Channels from `next` on that it is for.
    fn left(&self, next: u32) -> u32 {
        match self.last >= next {
            true => (self.last - next) / 2 + 1,
            false => 0,
        }
    }

    /// Once half of it is used up: sets aside for up to `most` channels from
    /// `next` on. Whether the peer is to be told. What it was told before holds,
    /// so a channel gets less only once those that were to get more are opened.
    pub fn renew(&mut self, next: u32, most: u32, budget: &mut Budget) -> bool {
        let left = self.left(next);
        if left > self.count / 2 || next > i32::MAX as u32 {
            return false;
        }
        let pool = budget.left + self.held(next);
        let least = if left > 0 { self.extra } else { 0 };
        let extra = (budget.learned - budget.initial).min(pool / 4 / LEAST_AHEAD);
        let extra = extra.max(least);
        let numbers_left = (i32::MAX as u32 - next) / 2 + 1;
        let most = u64::from(most.min(numbers_left));
        let count = (pool / 4).checked_div(extra).unwrap_or(0).min(most) as u32;
        if count <= left {
            return false;
        }
        budget.left = pool - u64::from(count) * extra;
        *self = Ahead {
            last: next + 2 * (count - 1),
            extra,
            count,
        };
        true
    }
}
