//! What the peer may send before this side has read it (W10 to W12).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::error::{ConnectionError, ErrorCode, violation};
use super::flow_control::{FIRST_LOAN, least_return};
use super::key::Key;
use super::queues::{Queue, QueueSet};

/// A reader keeps up with its peer while it has at most one part of so many of its loan
/// unread. Its loan then grows by what it reads.
const UNREAD: u32 = 4;

/// Bytes to which the loan of a slower reader shrinks. More would only lie there, and
/// leave the processor's cache before it is read.
const SLOW_LOAN: u32 = 512 << 10;

/// A WINDOW may wait until one part of so many of the channel's loan was read, but for no
/// larger part of what is free, and for [`DELAY`] at most. So bulk makes few of them: each
/// costs a system call and wakes a task.
const PART: u64 = 16;

/// Bytes that such a part has at least, so that WINDOWs are few, and at most, so that the
/// sender of a large loan does not run dry.
const UNPAID: std::ops::RangeInclusive<u64> = 128 << 10..=1 << 20;

/// How long a WINDOW may wait for more to be read: less than the round trips on
/// which credit matters.
const DELAY: Duration = Duration::from_millis(20);

/// One direction of a channel, as its receiver knows it, in bytes.
#[derive(Debug)]
pub(super) struct RecvCredit {
    pub received: u64,
    /// The last limit and loan that were advertised, or are advertised next.
    limit: u64,
    loan: u32,
}

impl RecvCredit {
    pub fn new(limit: u64) -> Self {
        RecvCredit {
            received: 0,
            limit,
            loan: FIRST_LOAN,
        }
    }

    /// What the next WINDOW says.
    pub fn advertised(&self) -> (u64, u32) {
        (self.limit, self.loan)
    }

    /// Version 0 has no limits.
    pub fn has_no_limit(&mut self) {
        self.limit = u64::MAX;
    }

    /// Bytes that the peer has borrowed.
    pub fn borrowed(&self) -> u64 {
        self.received.saturating_sub(self.limit)
    }
}

/// What the peer may send on all channels.
#[derive(Debug)]
pub(super) struct RecvBudget {
    window: u64,
    budget: u64,
    /// Bytes that the peer has borrowed, as this side knows it.
    borrowed: u64,
    /// Bytes that channels which have ended gave back since the connection began,
    /// and those that the last RETURN advertised.
    returned: u64,
    advertised: u64,
    /// Channels whose WINDOW waits for more to be read, and until when.
    pub delayed: VecDeque<Key>,
    due: Option<Instant>,
}

impl RecvBudget {
    pub fn new(window: u64, budget: u64) -> Self {
        RecvBudget {
            window,
            budget,
            borrowed: 0,
            returned: 0,
            advertised: 0,
            delayed: VecDeque::new(),
            due: None,
        }
    }

    /// Notes a channel that has received more, if its WINDOW may now wait for more to
    /// be read.
    pub fn delay_window(
        &mut self,
        key: Key,
        credit: &RecvCredit,
        queues: &mut QueueSet,
        now: Instant,
    ) {
        if !queues.has(Queue::Window) && self.is_due(credit, 0, false) {
            queues.insert(Queue::Window);
            self.delayed.push_back(key);
            self.due.get_or_insert(now + DELAY);
        }
    }

    /// When the WINDOWs that wait are to be given.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn take_delayed(&mut self) -> VecDeque<Key> {
        self.due = None;
        std::mem::take(&mut self.delayed)
    }

    /// The window of each channel.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Bytes that the peer may still borrow.
    pub fn left(&self) -> u64 {
        self.budget - self.borrowed
    }

    /// A channel that begins.
    pub fn credit(&self) -> RecvCredit {
        RecvCredit::new(self.window)
    }

    /// Bytes of memory that a channel may have for what it received.
    pub fn memory(&self, credit: &RecvCredit) -> usize {
        (self.window + credit.borrowed()) as usize
    }

    /// The header of a DATA frame (W10).
    pub fn on_data(&mut self, credit: &mut RecvCredit, len: u64) -> Result<(), ConnectionError> {
        let received = credit.received + len;
        let more = received.saturating_sub(credit.limit).min(len);
        if more > self.left() {
            return violation(
                ErrorCode::FLOW_CONTROL,
                "DATA beyond the window and the budget",
            );
        }
        self.borrowed += more;
        credit.received = received;
        Ok(())
    }

    /// Whether a WINDOW is due for what takes no memory any more, where `memory` is
    /// what a channel still has. `waits`: more may be read soon, and a timer looks
    /// again.
    pub fn is_due(&self, credit: &RecvCredit, memory: usize, waits: bool) -> bool {
        let taken = credit.limit + memory as u64;
        credit.received + self.window >= taken + self.least_window(credit, waits)
    }

    /// By how much the next WINDOW raises at least.
    fn least_window(&self, credit: &RecvCredit, waits: bool) -> u64 {
        let half = self.window.div_ceil(2);
        if !waits {
            return half;
        }
        let part = (u64::from(credit.loan) / PART).clamp(*UNPAID.start(), *UNPAID.end());
        half.max(part.min(self.left() / PART))
    }

    /// Gives credit, if [it is due](Self::is_due). True if the peer is to be told.
    pub fn pay(&mut self, credit: &mut RecvCredit, memory: usize, waits: bool) -> bool {
        if !self.is_due(credit, memory, waits) {
            return false;
        }
        let limit = credit.received + self.window - memory as u64;
        let more = (limit - credit.limit).min(u32::MAX.into()) as u32;
        credit.loan = match memory as u64 <= u64::from(credit.loan / UNREAD) {
            true => credit.loan.saturating_add(more),
            false => credit.loan.saturating_sub(more).max(SLOW_LOAN),
        };
        if memory == 0 && !waits {
            credit.loan = credit.loan.max(FIRST_LOAN); // it rests
        }
        let before = credit.borrowed();
        credit.limit = limit;
        self.borrowed -= before - credit.borrowed();
        true
    }

    /// The end of a channel, with what its sender has borrowed (W12): the WINDOWs
    /// that it had not received by then are void.
    pub fn on_end(&mut self, credit: &mut RecvCredit, debt: u64) -> Result<(), ConnectionError> {
        let before = credit.borrowed();
        if debt < before || debt > credit.received || debt - before > self.left() {
            return violation(
                ErrorCode::FLOW_CONTROL,
                "an end with another debt than was borrowed",
            );
        }
        self.borrowed += debt - before;
        credit.limit = credit.received - debt;
        Ok(())
    }

    /// Gives back what a channel that has ended has borrowed, but for the `memory`
    /// that it still has beyond its window.
    pub fn settle(&mut self, credit: &mut RecvCredit, memory: usize) {
        let held = (memory as u64).saturating_sub(self.window);
        let paid = credit.borrowed().saturating_sub(held);
        credit.limit += paid;
        self.borrowed -= paid;
        self.returned += paid;
    }

    /// Whether a RETURN is due for what channels which have ended gave back.
    pub fn is_return_due(&self) -> bool {
        let least = || least_return(self.window, self.budget);
        self.returned > self.advertised && self.returned - self.advertised >= least()
    }

    /// What the RETURN that leaves says.
    pub fn advertise_returned(&mut self) -> u64 {
        self.advertised = self.returned;
        self.advertised
    }
}
