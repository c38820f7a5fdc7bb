//! The model of a channel's sending half.

use std::ops::RangeInclusive;

use tcpchan::proto::ChannelError;

use super::bytes::pattern;

#[derive(Debug, Default)]
pub struct Sending {
    id: u32,
    /// Bytes that the core has taken, and that it has sent.
    written: u64,
    sent: u64,
    /// Bytes of an announced frame that are still to come.
    announced: u64,
    /// The window at first, then what the last WINDOW said (W10).
    limit: u64,
    /// Of what was written, what must leave before the RESET of one that is let go.
    least: u64,
    state: State,
    /// The code of the RESET that must follow.
    owes_reset: Option<u32>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Open,
    Finished,
    /// A RESET follows what is left.
    Cut,
    GivenUp,
    Stopped(u32),
}

impl Sending {
    pub fn new(limit: u64, id: u32) -> Self {
        Sending {
            id,
            limit,
            ..Sending::default()
        }
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn unsent(&self) -> u64 {
        self.written - self.sent
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// What was borrowed and is not paid back.
    pub fn debt(&self) -> u64 {
        self.sent.saturating_sub(self.limit)
    }

    /// Its FIN or RESET has left.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What needs no loan has left, and the end if there is one.
    pub fn is_drained(&self) -> bool {
        let sent = self.sent >= self.written.min(self.limit);
        match self.state {
            State::Open => sent && !self.ended,
            State::Finished => sent && self.ended == (self.sent == self.written),
            State::Cut | State::GivenUp | State::Stopped(_) => self.ended,
        }
    }

    /// Bytes that wait for a loan, where it has none.
    pub fn needs_loan(&self) -> u64 {
        match self.debt() {
            0 if !self.ended => self.unsent(),
            _ => 0,
        }
    }

    /// The limits that a WINDOW of a peer with this window may say (W11).
    pub fn windows(&self, window: u64) -> RangeInclusive<u64> {
        self.limit + window.div_ceil(2)..=self.sent + window
    }

    // What the application and the peer do.

    pub fn takes(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// A WINDOW that keeps the rules.
    pub fn window(&mut self, limit: u64) {
        self.limit = limit;
    }

    pub fn finish(&mut self, result: Result<(), ChannelError>) {
        match (self.state, result) {
            (State::Open, Ok(())) => self.state = State::Finished,
            (State::Finished, Ok(())) => {}
            (_, Err(error)) => self.explain(&error),
            (_, Ok(())) => panic!("finished what had failed"),
        }
    }

    pub fn give_up(&mut self, code: u32) {
        self.fail(State::GivenUp, code);
    }

    pub fn peer_stops(&mut self, code: u32) {
        // W14.3: the channels are the peer's, so the core can't be refused.
        let answer = if code == u32::MAX { 0 } else { code };
        self.fail(State::Stopped(code), answer);
    }

    /// What needs no loan still leaves.
    pub fn release(&mut self) {
        if self.state == State::Open {
            match self.unsent() {
                0 => self.fail(State::GivenUp, 0),
                _ => (self.state, self.least) = (State::Cut, self.written.min(self.limit)),
            }
        }
    }

    fn fail(&mut self, state: State, code: u32) {
        if !self.ended && !matches!(self.state, State::GivenUp | State::Stopped(_)) {
            self.state = state;
            self.owes_reset = Some(code);
        }
    }

    /// An error must have its reason.
    pub fn explain(&self, error: &ChannelError) {
        let fits = match error {
            ChannelError::Ended => matches!(self.state, State::Finished | State::GivenUp),
            ChannelError::Stopped(code) => self.state == State::Stopped(*code),
            _ => false,
        };
        assert!(fits, "no reason for {error:?}");
    }

    // What the core sends.

    pub fn data(&mut self, len: u64) {
        assert!(self.announced == 0 && !self.ended && self.owes_reset.is_none());
        assert!(self.sent + len <= self.written);
        self.announced = len;
    }

    pub fn payload(&mut self, bytes: &[u8]) {
        assert!(*bytes == *pattern(self.id, self.sent, bytes.len()));
        self.sent += bytes.len() as u64;
        self.announced -= bytes.len() as u64;
    }

    pub fn fin(&mut self) {
        assert!(self.state == State::Finished && self.sent == self.written && !self.ended);
        self.ended = true;
    }

    pub fn reset(&mut self, code: u32) {
        let owed = match self.state {
            State::Cut if self.sent >= self.least => Some(0),
            _ => self.owes_reset.take(),
        };
        assert_eq!(owed, Some(code));
        assert!(!self.ended);
        self.ended = true;
    }
}

/// What the core has borrowed of the peer's budget.
#[derive(Debug)]
pub struct Loans {
    pub window: u64,
    pub budget: u64,
    /// Debts that FIN and RESET said, and how many of them a RETURN paid back.
    ended: u64,
    returned: u64,
}

impl Loans {
    pub fn new(window: u64, budget: u64) -> Self {
        Loans {
            window,
            budget,
            ended: 0,
            returned: 0,
        }
    }

    /// The debts of all channels, those included that have ended (W10).
    pub fn debts<'a>(&self, channels: impl Iterator<Item = &'a Sending>) -> u64 {
        let alive = channels.filter(|sending| !sending.ended);
        alive.map(Sending::debt).sum::<u64>() + self.ended - self.returned
    }

    /// An end of the core's with this debt.
    pub fn end(&mut self, said: u64, sending: &Sending) {
        assert_eq!(said, sending.debt(), "the debt that an end says");
        self.ended += said;
    }

    /// The sums that a RETURN may say (W12).
    pub fn returns(&self) -> RangeInclusive<u64> {
        self.returned + least_return(self.window, self.budget)..=self.ended
    }

    /// A RETURN that keeps the rules.
    pub fn on_return(&mut self, total: u64) {
        self.returned = total;
    }
}

/// By how much a RETURN rises at least (W12).
pub fn least_return(window: u64, budget: u64) -> u64 {
    window.div_ceil(2).min(budget.div_ceil(4)).max(1)
}
