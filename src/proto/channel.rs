//! The state of one channel: two halves that end on their own.
//!
//! ```text
//! send:  Open --finish--> Ending --FIN sent--> Done
//!        Open --let go of--> Cut --RESET sent--> Done
//!        Open, Ending, Cut --reset, or STOP received--> Failed
//! recv:  Open --FIN received--> Ending
//!        Open --RESET received, or stop--> Failed
//! ```

use super::buffer::Buffer;
use super::error::{ConnectionError, REFUSED, code};
use super::flow_control::{RecvBudget, RecvCredit, SendBudget, SendCredit};
use super::scheduler::Share;
use super::table::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Open,
    /// Sending: FIN follows the bytes. Receiving: FIN was received.
    Ending,
    /// Sending: a RESET with this code follows the bytes.
    Cut(u32),
    Done,
    Failed(Cause),
}

/// Why a half failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The peer reset it, with this code.
    Reset(u32),
    /// The peer reads no more, with this code.
    Stopped(u32),
    /// The peer never gave the channel to its application.
    Refused,
    /// This side gave it up, with this code.
    Ended(u32),
    /// The connection ended.
    Connection,
}

impl Half {
    /// Whether it has neither come to its end nor failed.
    pub fn is_alive(self) -> bool {
        matches!(self, Half::Open | Half::Ending | Half::Cut(_))
    }

    /// What a frame says of its failure.
    pub fn code(self) -> u32 {
        match self {
            Half::Failed(Cause::Reset(code) | Cause::Stopped(code) | Cause::Ended(code)) => code,
            Half::Failed(Cause::Refused) => REFUSED,
            _ => code::NONE,
        }
    }
}

#[derive(Debug)]
pub(super) struct Send {
    pub half: Half,
    pub buffer: Buffer,
    pub credit: SendCredit,
    /// Its FIN or RESET has left.
    pub ended: bool,
}

#[derive(Debug)]
pub(super) struct Recv {
    pub half: Half,
    pub buffer: Buffer,
    pub credit: RecvCredit,
}

/// Control frames that a channel owes the peer: at most one of each. The halves
/// know the codes.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub window: bool,
    pub stop: bool,
    pub reset: bool,
    /// Version 0 only.
    pub close: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub key: Key,
    pub id: u32,
    pub send: Send,
    pub recv: Recv,
    pub owed: Owed,
    /// This side opened it.
    pub ours: bool,
    /// OPEN has left, or was received.
    pub opened: bool,
    /// The application has got it, by opening or accepting it.
    pub handed: bool,
    /// The application has read from it, written to it or finished it.
    pub begun: bool,
    /// The peer's RESET, FIN or CLOSE came, so it sends nothing more.
    pub peer_ended: bool,
    /// The application has let go of it.
    pub released: bool,
    /// STOP is owed where the peer doesn't end it by itself.
    pub parting: bool,
    pub queued_control: bool,
    pub queued_data: bool,
    /// Events that are not polled yet.
    pub told_readable: bool,
    pub told_writable: bool,
    /// It waits for others to pay back what they have borrowed.
    pub waits_for_budget: bool,
    /// A timer gives its WINDOW.
    pub window_delayed: bool,
    /// The peer's STOP came.
    pub peer_stopped: bool,
    /// DATA, FIN or a WINDOW shows that the peer's application has got it.
    pub peer_began: bool,
    /// Its reset or refusal was counted.
    pub counted: bool,
    pub share: Share,
}

impl State {
    pub fn new(id: u32, ours: bool, send_limit: u64, credit: RecvCredit) -> Self {
        State {
            key: Key::NONE,
            id,
            send: Send {
                half: Half::Open,
                buffer: Buffer::default(),
                credit: SendCredit::new(send_limit),
                ended: false,
            },
            recv: Recv {
                half: Half::Open,
                buffer: Buffer::default(),
                credit,
            },
            owed: Owed::default(),
            ours,
            opened: !ours,
            handed: ours,
            begun: false,
            peer_ended: false,
            released: false,
            parting: false,
            queued_control: false,
            queued_data: false,
            told_readable: false,
            told_writable: false,
            waits_for_budget: false,
            window_delayed: false,
            peer_stopped: false,
            peer_began: false,
            counted: false,
            share: Share::default(),
        }
    }

    /// Nothing more can happen on it, so it can be forgotten.
    pub fn is_over(&self) -> bool {
        self.released && self.peer_ended && !self.owes() && !self.send.half.is_alive()
    }

    /// Bytes, both ways.
    pub fn carried(&self) -> u64 {
        self.send.credit.sent + self.recv.credit.received
    }

    /// Whether it owes the peer an end.
    pub fn owes(&self) -> bool {
        self.owed.stop || self.owed.reset || self.owed.close
    }

    /// The peer opened it, and the application has got it and not begun with it.
    pub fn is_unseen(&self) -> bool {
        self.handed && !self.ours && !self.begun
    }

    /// Whether a data frame or an end could be sent now, of so many bytes that wait.
    #[inline]
    pub fn can_send(&self, waiting: usize, budget: &SendBudget) -> bool {
        let room = || budget.room(&self.send.credit, waiting as u64) > 0;
        match self.send.half {
            Half::Open => waiting > 0 && room(),
            Half::Ending => waiting == 0 || room(),
            Half::Cut(_) => true, // without what it may not send
            Half::Done | Half::Failed(_) => false,
        }
    }

    /// Whether more waits than may be sent without borrowing.
    pub fn needs_loan(&self) -> bool {
        self.send.buffer.len() as u64 > self.send.credit.own()
    }

    /// The application begins with it; `unseen` counts those that are that.
    pub fn begin(&mut self, unseen: &mut usize) {
        *unseen -= usize::from(self.is_unseen());
        self.begun = true;
    }

    /// The application writes to it or finishes it. Where that fails it has still
    /// dealt with a channel of the peer's, but may as well not have opened its own.
    pub fn try_begin(&mut self, unseen: &mut usize) {
        if self.send.half == Half::Open || !self.ours {
            self.begin(unseen);
        }
    }

    /// Whether its end follows the bytes that are left to send.
    pub fn ends(&self) -> bool {
        matches!(self.send.half, Half::Ending | Half::Cut(_))
    }

    /// Whether the application can still read.
    pub fn reads(&self) -> bool {
        self.recv.half == Half::Open && !self.released
    }

    /// Whether the peer reads no more, and what it sent has not been read to the end.
    #[cfg(feature = "hyper")]
    pub fn may_be_answered(&self) -> bool {
        let stopped = matches!(self.send.half, Half::Failed(Cause::Stopped(_)));
        stopped && (self.recv.half.is_alive() || !self.recv.buffer.is_empty())
    }

    /// Takes the header of a data frame: the bytes must fit the credit.
    pub fn on_data(&mut self, len: usize, budget: &mut RecvBudget) -> Result<(), ConnectionError> {
        self.check_goes_on("DATA after the end")?;
        self.peer_begins("DATA after a refusal")?;
        budget.on_data(&mut self.recv.credit, len as u64)
    }

    /// The peer's application has done something with it. Who says that nobody has got
    /// it, says nothing more of it but a RESET.
    #[inline]
    pub fn peer_begins(&mut self, text: &str) -> Result<(), ConnectionError> {
        self.peer_began = true;
        if let Half::Failed(Cause::Refused) = self.send.half {
            self.send.half = Half::Failed(Cause::Connection);
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        Ok(())
    }

    /// Nothing follows the peer's end, no second end either.
    fn check_goes_on(&self, text: &str) -> Result<(), ConnectionError> {
        match self.peer_ended {
            true => Err(ConnectionError::violation(code::PROTOCOL, text)),
            false => Ok(()),
        }
    }

    /// The peer's clean end, with what it has borrowed.
    pub fn on_fin(&mut self, debt: u64, budget: &mut RecvBudget) -> Result<(), ConnectionError> {
        self.check_goes_on("FIN after the end")?;
        self.peer_begins("FIN after a refusal")?;
        budget.on_end(&mut self.recv.credit, debt)?;
        if self.recv.half == Half::Open {
            self.recv.half = Half::Ending;
        }
        self.on_end(budget);
        Ok(())
    }

    /// The peer's RESET, behind what was received.
    pub fn on_reset(
        &mut self,
        code: u32,
        debt: u64,
        budget: &mut RecvBudget,
    ) -> Result<(), ConnectionError> {
        self.check_goes_on("RESET after the end")?;
        budget.on_end(&mut self.recv.credit, debt)?;
        if self.recv.half.is_alive() {
            self.recv.half = Half::Failed(match code {
                REFUSED if self.may_be_refused() => Cause::Refused,
                code => Cause::Reset(code),
            });
        }
        self.on_end(budget);
        Ok(())
    }

    /// Whether this side opened it, and nothing shows that the peer's application has
    /// got it. Else the peer can't say that it hasn't.
    pub fn may_be_refused(&self) -> bool {
        self.ours && !self.peer_began
    }

    /// The code that the application may say: a channel that it opened or began with
    /// can't be refused.
    pub fn code(&self, code: u32) -> u32 {
        match code {
            REFUSED if self.ours || self.begun => code::NONE,
            code => code,
        }
    }

    fn on_end(&mut self, budget: &mut RecvBudget) {
        self.peer_ended = true;
        (self.owed.window, self.owed.stop) = (false, false);
        let (buffer, credit) = (&mut self.recv.buffer, &mut self.recv.credit);
        if credit.borrowed() > 0 && buffer.len() as u64 <= budget.window() {
            buffer.fit(); // a few bytes in large blocks hold no credit
        }
        budget.settle(credit, buffer.memory());
    }

    /// The peer gave up what it had opened before it got a byte.
    pub fn is_cancel(&self) -> bool {
        !self.ours && self.send.credit.sent == 0
    }

    /// The peer's STOP: this half ends with a RESET. Whether it had not ended.
    pub fn on_stop(&mut self, code: u32) -> bool {
        self.peer_stopped = true;
        let news = self.send.half.is_alive();
        if news {
            self.fail_send(match code {
                REFUSED if self.may_be_refused() => Cause::Refused,
                code => Cause::Stopped(code),
            });
        }
        news
    }

    /// Ends the send half; a RESET tells the peer.
    pub fn fail_send(&mut self, cause: Cause) {
        self.send.half = Half::Failed(cause);
        self.send.buffer.clear();
        self.owed.reset = true;
    }

    /// Reads no more; the peer is told to stop, and what it has borrowed is paid
    /// back with its end.
    pub fn stop(&mut self, code: u32, budget: &mut RecvBudget) {
        if !matches!(self.recv.half, Half::Failed(_)) {
            self.recv.half = Half::Failed(Cause::Ended(code));
            self.owed.stop = !self.peer_ended;
        }
        self.recv.buffer.clear();
        self.owed.window = false;
        if self.peer_ended {
            budget.settle(&mut self.recv.credit, 0);
        }
    }

    /// Lets go of the send half: RESET follows what the peer has room for.
    pub fn cut(&mut self, code: u32) {
        if self.send.half != Half::Open {
            return;
        }
        match self.send.buffer.is_empty() {
            true => self.fail_send(Cause::Ended(code)),
            false => self.send.half = Half::Cut(code),
        }
    }

    /// Drops what a send half that was cut may not send now, since the peer may
    /// never make room.
    pub fn drop_blocked(&mut self, budget: &SendBudget) {
        if let Half::Cut(_) = self.send.half {
            let waiting = self.send.buffer.len() as u64;
            let room = budget.room(&self.send.credit, waiting);
            self.send.buffer.truncate(room);
        }
    }

    /// Lets go: an unfinished send half is cut off, an unfinished receive half
    /// stopped, where that is needed.
    pub fn release(&mut self, code: u32, budget: &mut RecvBudget) {
        self.parting = self.may_end_by_itself();
        self.released = true;
        self.cut(code);
        self.stop(code, budget);
        self.owed.stop &= !self.parting;
    }
}
