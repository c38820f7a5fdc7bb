//! The state of one channel: two halves that end on their own.
//!
//! ```text
//! send:  Open --finish--> Ending --FIN sent--> Done
//!        Open --let go of--> Ending --RESET sent--> Failed
//!        Open, Ending --reset, or STOP received--> Failed
//! recv:  Open --FIN received--> Ending
//!        Open --RESET received, or stop--> Failed
//! ```

use super::buffer::Buffer;
use super::error::{ConnectionError, REFUSED, code};
use super::flow::Credit;
use super::scheduler::Share;
use super::table::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Open,
    /// Sending: FIN, or the RESET of [`Send::cut`], follows the bytes.
    /// Receiving: FIN was received.
    Ending,
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
    /// This side gave it up.
    Ended,
    /// The connection ended.
    Connection,
}

#[derive(Debug)]
pub(super) struct Send {
    pub half: Half,
    /// The code of the RESET that ends the half, where that isn't a FIN.
    pub cut: Option<u32>,
    pub buffer: Buffer,
    /// Bytes sent so far, and how many may be.
    pub sent: u64,
    pub limit: u64,
}

#[derive(Debug)]
pub(super) struct Recv {
    pub half: Half,
    pub buffer: Buffer,
    pub received: u64,
    pub credit: Credit,
}

/// Control frames that a channel owes the peer: at most one of each.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub window: bool,
    pub stop: Option<u32>,
    pub reset: Option<u32>,
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
    /// The peer's RESET, FIN or CLOSE came, so it sends nothing more.
    pub peer_ended: bool,
    /// The application has let go of it.
    pub released: bool,
    pub queued_control: bool,
    pub queued_data: bool,
    /// Events that are not polled yet.
    pub told_readable: bool,
    pub told_writable: bool,
    /// The peer was told that credit is lacking.
    pub told_blocked: bool,
    /// Something was sent since the last WINDOW, so that another is news.
    pub sent_since_window: bool,
    /// Its reset or refusal was counted.
    pub counted: bool,
    pub share: Share,
}

impl State {
    pub fn new(id: u32, ours: bool, send_limit: u64, credit: Credit) -> Self {
        State {
            key: Key::NONE,
            id,
            send: Send {
                half: Half::Open,
                cut: None,
                buffer: Buffer::default(),
                sent: 0,
                limit: send_limit,
            },
            recv: Recv {
                half: Half::Open,
                buffer: Buffer::default(),
                received: 0,
                credit,
            },
            owed: Owed::default(),
            ours,
            opened: !ours,
            handed: ours,
            peer_ended: false,
            released: false,
            queued_control: false,
            queued_data: false,
            told_readable: false,
            told_writable: false,
            told_blocked: false,
            sent_since_window: true,
            counted: false,
            share: Share::default(),
        }
    }

    /// Nothing more can happen on it, so it can be forgotten.
    pub fn is_over(&self) -> bool {
        let owes = self.owed.stop.is_some() || self.owed.reset.is_some() || self.owed.close;
        let sends = matches!(self.send.half, Half::Open | Half::Ending);
        self.released && self.peer_ended && !owes && !sends
    }

    /// Whether a data frame or a FIN could be sent now.
    pub fn can_send(&self) -> bool {
        let credit = self.send.limit > self.send.sent;
        match self.send.half {
            Half::Open => credit && !self.send.buffer.is_empty(),
            Half::Ending => credit || self.send.buffer.is_empty(),
            _ => false,
        }
    }

    /// Whether the next bytes that are written could leave at once.
    pub fn is_clear(&self) -> bool {
        self.send.half == Half::Open && self.send.buffer.is_empty() && self.opened
    }

    /// Bytes wait that the peer's window does not allow.
    pub fn is_blocked(&self) -> bool {
        let sends = matches!(self.send.half, Half::Open | Half::Ending);
        sends && self.send.sent >= self.send.limit && !self.send.buffer.is_empty()
    }

    /// Whether the application can still read.
    pub fn reads(&self) -> bool {
        self.recv.half == Half::Open && !self.released
    }

    /// Takes the header of a data frame: the bytes must fit the credit.
    pub fn on_data(&mut self, len: usize) -> Result<(), ConnectionError> {
        if self.peer_ended {
            return Err(ConnectionError::violation(
                code::PROTOCOL,
                "DATA after the end",
            ));
        }
        if self.recv.received + len as u64 > self.recv.credit.allowed() {
            return Err(ConnectionError::violation(
                code::FLOW_CONTROL,
                "DATA beyond the window",
            ));
        }
        self.recv.received += len as u64;
        Ok(())
    }

    /// The peer's clean end. A second end is a violation.
    pub fn on_fin(&mut self) -> Result<(), ConnectionError> {
        if self.peer_ended {
            return Err(ConnectionError::violation(
                code::PROTOCOL,
                "FIN after the end",
            ));
        }
        self.peer_ended = true;
        if self.recv.half == Half::Open {
            self.recv.half = Half::Ending;
        }
        self.owed.window = false;
        self.owed.stop = None;
        Ok(())
    }

    /// The peer's RESET, behind what was received; but a channel that nobody
    /// has seen is to make no work. A second end is a violation.
    pub fn on_reset(&mut self, code: u32) -> Result<(), ConnectionError> {
        if self.peer_ended {
            let text = "RESET after the end";
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        self.peer_ended = true;
        if matches!(self.recv.half, Half::Open | Half::Ending) {
            self.recv.half = Half::Failed(match code {
                REFUSED if self.ours => Cause::Refused,
                code => Cause::Reset(code),
            });
        }
        if !self.handed {
            self.recv.buffer.clear();
        }
        self.owed.window = false;
        self.owed.stop = None;
        Ok(())
    }

    /// The peer says at which limit it waits. Whether that is news.
    pub fn on_blocked(&mut self, limit: u64) -> bool {
        self.recv.credit.on_blocked(limit, self.recv.received)
    }

    /// The peer gave up what it had opened before it got a byte.
    pub fn is_cancel(&self) -> bool {
        !self.ours && self.send.sent == 0
    }

    /// The peer's STOP: this half ends with a RESET. Whether it had not ended.
    pub fn on_stop(&mut self, code: u32) -> bool {
        let news = matches!(self.send.half, Half::Open | Half::Ending);
        if news {
            let cause = match code {
                REFUSED if self.ours => Cause::Refused,
                code => Cause::Stopped(code),
            };
            self.fail_send(cause, code);
        }
        news
    }

    pub fn fail_send(&mut self, cause: Cause, code: u32) {
        self.send.half = Half::Failed(cause);
        self.send.buffer.clear();
        self.owed.reset = Some(code);
    }

    /// Reads no more; the peer is told to stop.
    pub fn stop(&mut self, code: u32) {
        if matches!(self.recv.half, Half::Open | Half::Ending) {
            self.recv.half = Half::Failed(Cause::Ended);
        }
        self.recv.buffer.clear();
        self.owed.window = false;
        if !self.peer_ended {
            self.owed.stop = Some(code);
        }
    }

    /// Lets go of the send half: RESET follows what the peer's window has room
    /// for. The rest is dropped, since the peer may never make room.
    pub fn cut(&mut self, code: u32) {
        if self.send.half != Half::Open {
            return;
        }
        let credit = self.send.limit.saturating_sub(self.send.sent);
        self.send.buffer.truncate(credit);
        match self.send.buffer.is_empty() {
            true => self.fail_send(Cause::Ended, code),
            false => (self.send.half, self.send.cut) = (Half::Ending, Some(code)),
        }
    }

    /// Lets go: an unfinished send half is cut off, an unfinished receive half
    /// stopped.
    pub fn release(&mut self, code: u32) {
        self.released = true;
        self.cut(code);
        self.stop(code);
    }
}
