//! The model of a channel's sending half.

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
    /// Bytes that the peer takes.
    limit: u64,
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

    /// Everything that the peer takes has left, and the end if there is one.
    pub fn is_drained(&self) -> bool {
        let sent = self.sent == self.written.min(self.limit);
        match self.state {
            State::Open => sent && !self.ended,
            State::Finished => sent && self.ended == (self.sent == self.written),
            State::Cut | State::GivenUp | State::Stopped(_) => self.ended,
        }
    }

    // What the application and the peer do.

    pub fn takes(&mut self, bytes: u64) {
        self.written += bytes;
    }

    pub fn window(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
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
        self.fail(State::Stopped(code), code);
    }

    /// What the peer takes still leaves.
    pub fn release(&mut self) {
        if self.state == State::Open {
            self.written = self.written.min(self.limit);
            match self.unsent() {
                0 => self.fail(State::GivenUp, 0),
                _ => self.state = State::Cut,
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
        assert!(self.sent + len <= self.written.min(self.limit));
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
            State::Cut if self.sent == self.written => Some(0),
            _ => self.owes_reset.take(),
        };
        assert_eq!(owed, Some(code));
        assert!(!self.ended);
        self.ended = true;
    }

    pub fn blocked(&self, limit: u64) {
        assert!(limit == self.limit && limit == self.sent && self.written > limit);
    }
}
