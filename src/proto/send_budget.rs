//! What this side may send before the peer has read it (W10 to W12).

use std::collections::VecDeque;

use super::error::{ConnectionError, ErrorCode, violation};
use super::flow_control::{FIRST_LOAN, least_return};
use super::key::Key;
use super::queues::{Queue, QueueSet};
use crate::wire::MAX_DATA;

/// Of the last quarter of the budget a channel gets a quarter at most, and this at
/// most. So channels that nobody reads leave something for new ones.
const LAST_LOAN: u64 = 1 << 20;

/// Bytes below which nothing is borrowed for a part of what waits: small frames
/// cost as much as large ones (RFC 1122, 4.2.3.4).
const LEAST_LOAN: u64 = MAX_DATA as u64;

/// One direction of a channel, as its sender knows it, in bytes.
#[derive(Debug)]
pub(super) struct SendCredit {
    pub sent: u64,
    /// The window at first, then that of the last WINDOW.
    limit: u64,
    /// The most that it may borrow, as the last WINDOW said.
    loan: u32,
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
                "a RETURN of too little, or of no debt",
            );
        }
        let paid = total - self.returned;
        self.returned = total;
        self.borrowed -= paid;
        Ok(paid)
    }
}
