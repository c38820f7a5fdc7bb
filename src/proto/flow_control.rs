//! Credit: what a side may send before the other has read it (W10 to W12).
//!
//! Each channel has a window of its own, always. Beyond it a channel borrows from
//! a budget that all channels of a direction share. What was read is paid back, so
//! a channel that rests holds nothing of the budget. No time is in the arithmetic.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::error::{ConnectionError, ErrorCode, violation};
use super::key::Key;
use super::queues::{Queue, QueueSet};
use crate::wire::MAX_DATA;

/// Bytes that a channel may borrow before a WINDOW says how many. An answer of 2 MiB
/// leaves whole, as much as a link of 200 Mbit/s and 80 ms carries in a round trip. A
/// reader that stands still holds no more of the budget.
const FIRST_LOAN: u32 = 2 << 20;

/// A reader keeps up with its peer while it has no larger part of the loan unread. Its
/// loan then grows by what it reads. Else it shrinks, to this at least: more would only
/// lie there, and leave the processor's cache before it is read.
const UNREAD: u32 = 4;
const SLOW_LOAN: u32 = 512 << 10;

/// Of the last quarter of the budget a channel gets a quarter at most, and this at
/// most. So channels that nobody reads leave something for new ones.
const LAST_LOAN: u64 = 1 << 20;

/// Bytes below which nothing is borrowed for a part of what waits: small frames
/// cost as much as large ones (RFC 1122, 4.2.3.4).
const LEAST_LOAN: u64 = MAX_DATA as u64;

/// A WINDOW may wait until a sixteenth of the channel's loan was read, or this, but not
/// for more than a sixteenth of what is free, and for [`DELAY`] at most. So bulk makes
/// few of them: each costs a system call and wakes a task.
const PART: u64 = 16;
const UNPAID: std::ops::RangeInclusive<u64> = 128 << 10..=1 << 20;

/// How long a WINDOW may wait for more to be read: less than the round trips on
/// which credit matters.
const DELAY: Duration = Duration::from_millis(20);

/// One direction of a channel, as its sender knows it, in bytes.
#[derive(Debug)]
pub(super) struct SendCredit {
    pub sent: u64,
    /// The window at first, then that of the last WINDOW.
    limit: u64,
    /// The most that it may borrow, as the last WINDOW said.
    loan: u32,
}

/// One direction of a channel, as its receiver knows it, in bytes.
#[derive(Debug)]
pub(super) struct RecvCredit {
    pub received: u64,
    /// The last limit and loan that were advertised, or are advertised next.
    limit: u64,
    loan: u32,
}

/// The least rise of a RETURN (W12).
fn least_return(window: u64, budget: u64) -> u64 {
    window.div_ceil(2).min(budget.div_ceil(4)).max(1)
}

impl SendCredit {
    pub fn new(limit: u64) -> Self {
        SendCredit {
            sent: 0,
            limit,
            loan: FIRST_LOAN,
        }
    }

    /// Bytes that may be sent without borrowing.
    pub fn own(&self) -> u64 {
        self.limit.saturating_sub(self.sent)
    }

    /// Bytes that are borrowed.
    pub fn borrowed(&self) -> u64 {
        self.sent.saturating_sub(self.limit)
    }

    /// The limit before any WINDOW rises to this, if it is below.
    pub fn begin_at(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }
}

/// What this side may send on all channels.
#[derive(Debug)]
pub(super) struct SendBudget {
    window: u64,
    budget: u64,
    /// Bytes that are borrowed, by channels that have ended too.
    borrowed: u64,
    /// Bytes that were borrowed by channels when they ended, and how many of those
    /// were returned, both since the connection began.
    ended: u64,
    returned: u64,
    /// Channels that can send once others have paid back.
    pub waiting: VecDeque<Key>,
}

impl SendBudget {
    /// The peer takes so much, as far as is known.
    pub fn new(window: u64, budget: u64) -> Self {
        SendBudget {
            window,
            budget,
            borrowed: 0,
            ended: 0,
            returned: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The peer's settings have come; nothing was borrowed before.
    pub fn on_settings(&mut self, window: u64, budget: u64) {
        (self.window, self.budget) = (window, budget);
    }

    /// The window of each channel.
    pub fn window(&self) -> u64 {
        self.window
    }

    fn free(&self) -> u64 {
        self.budget - self.borrowed
    }

    /// Whether nothing is borrowed.
    pub fn is_all_free(&self) -> bool {
        self.borrowed == 0
    }

    /// Bytes that a channel may borrow now.
    fn lendable(&self, credit: &SendCredit) -> u64 {
        let (borrowed, free) = (credit.borrowed(), self.free());
        let large = u64::from(credit.loan).saturating_sub(borrowed);
        let large = large.min(free.saturating_sub(self.budget / 4));
        let small = LAST_LOAN.min(free / 4).saturating_sub(borrowed);
        large.max(small)
    }

    /// Bytes that a channel may send now, of `waiting` ones.
    #[inline]
    pub fn room(&self, credit: &SendCredit, waiting: u64) -> u64 {
        let debt = credit
            .sent
            .saturating_add(waiting)
            .saturating_sub(credit.limit);
        let most = self.budget - self.budget / 4;
        match debt == 0 || debt <= credit.loan.into() && self.borrowed + waiting <= most {
            true => waiting, // nearly always, and cheap
            false => self.part(credit, waiting),
        }
    }

    #[inline(never)]
    fn part(&self, credit: &SendCredit, waiting: u64) -> u64 {
        let own = credit.own().min(waiting);
        let (wanted, loan) = (waiting - own, self.lendable(credit));
        match loan >= wanted.min(LEAST_LOAN) {
            true => own + loan.min(wanted),
            false => own,
        }
    }

    /// A channel that may not send what it has waits for others to pay back, if that
    /// can help it.
    #[inline(never)]
    pub fn wait(&mut self, key: Key, credit: &SendCredit, queues: &mut QueueSet) {
        let helps = credit.borrowed() < credit.loan.into();
        if self.budget > 0 && helps && queues.insert(Queue::Budget) {
            self.waiting.push_back(key);
        }
    }

    /// A channel sends so much.
    pub fn spend(&mut self, credit: &mut SendCredit, bytes: u64) {
        credit.sent += bytes;
        self.borrowed += credit.borrowed().min(bytes);
    }

    /// A WINDOW (W11): how many bytes it pays back. One that crossed the channel's
    /// end pays nothing, since that said its debt.
    pub fn on_window(
        &mut self,
        credit: &mut SendCredit,
        (limit, loan): (u64, u32),
        ended: bool,
    ) -> Result<u64, ConnectionError> {
        if limit < credit.limit.saturating_add(self.window.div_ceil(2)) {
            return violation(
                ErrorCode::FLOW_CONTROL,
                "a WINDOW that raises by less than half a window",
            );
        }
        if limit > credit.sent.saturating_add(self.window) {
            return violation(
                ErrorCode::FLOW_CONTROL,
                "a WINDOW beyond what was sent and a window",
            );
        }
        let before = credit.borrowed();
        (credit.limit, credit.loan) = (limit, loan);
        let paid = before - credit.borrowed();
        if ended {
            return Ok(0);
        }
        self.borrowed -= paid;
        Ok(paid)
    }

    /// The end of a channel leaves; the bytes that it has borrowed.
    pub fn on_end(&mut self, credit: &SendCredit) -> u64 {
        self.ended += credit.borrowed();
        credit.borrowed()
    }

    /// How many WINDOWs may be on their way for a channel that is closed.
    pub fn crossing_windows(&self, credit: &SendCredit) -> u64 {
        let most = credit.sent + self.window;
        most.saturating_sub(credit.limit) / self.window.div_ceil(2)
    }

    /// A RETURN (W12): how many bytes it pays back.
    pub fn on_return(&mut self, total: u64) -> Result<u64, ConnectionError> {
        let least = least_return(self.window, self.budget);
        if total < self.returned.saturating_add(least) || total > self.ended {
            return violation(
                ErrorCode::FLOW_CONTROL,
                "a RETURN of too little or of what nobody owes",
            );
        }
        let paid = total - self.returned;
        self.returned = total;
        self.borrowed -= paid;
        Ok(paid)
    }
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
                "an end that owes other than was borrowed",
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
