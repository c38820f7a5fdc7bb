//! The state of one channel: two halves that end on their own.
//!
//! ```text
//! send:  Open --finish--> Ending --FIN sent--> Done
//!        Open, Ending --reset, or STOP received--> Failed
//! recv:  Open --FIN--> Open, finished --all read--> Done
//!        Open --RESET--> Failed;  Open --stop--> Stopped
//! ```

use std::collections::VecDeque;

use super::error::{ChannelError, ConnectionError, code};
use super::flow::Credit;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Open,
    /// Sending: FIN follows the bytes. Receiving: FIN was received.
    Ending,
    Done,
    Failed(ChannelError),
}

#[derive(Debug)]
pub(super) struct Send {
    pub half: Half,
    pub buffer: VecDeque<u8>,
    /// Bytes sent so far, and how many may be.
    pub sent: u64,
    pub limit: u64,
}

#[derive(Debug)]
pub(super) struct Recv {
    pub half: Half,
    pub buffer: VecDeque<u8>,
    pub received: u64,
    pub credit: Credit,
}

/// Control frames that a channel owes the peer: at most one of each.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub window: bool,
    pub stop: Option<u32>,
    pub reset: Option<u32>,
}

#[derive(Debug)]
pub(super) struct State {
    pub send: Send,
    pub recv: Recv,
    pub owed: Owed,
    /// The peer's RESET or FIN came, so it sends nothing more.
    pub peer_ended: bool,
    /// The application has let go of it.
    pub released: bool,
    pub queued_control: bool,
    pub queued_data: bool,
    /// Events that are not polled yet.
    pub told_readable: bool,
    pub told_writable: bool,
    pub deficit: usize,
}

impl State {
    pub fn new(send_limit: u64, window: u64) -> Self {
        State {
            send: Send {
                half: Half::Open,
                buffer: VecDeque::new(),
                sent: 0,
                limit: send_limit,
            },
            recv: Recv {
                half: Half::Open,
                buffer: VecDeque::new(),
                received: 0,
                credit: Credit::new(window),
            },
            owed: Owed::default(),
            peer_ended: false,
            released: false,
            queued_control: false,
            queued_data: false,
            told_readable: false,
            told_writable: false,
            deficit: 0,
        }
    }

    /// Nothing more can happen on it, so it can be forgotten.
    pub fn is_over(&self) -> bool {
        let owes = self.owed.stop.is_some() || self.owed.reset.is_some();
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

    /// Takes the header of a data frame: the bytes must fit the credit.
    pub fn on_data(&mut self, len: usize) -> Result<(), ConnectionError> {
        if self.peer_ended {
            return Err(ConnectionError::violation(
                code::PROTOCOL,
                "DATA after the end",
            ));
        }
        if self.recv.received + len as u64 > self.recv.credit.limit() {
            return Err(ConnectionError::violation(
                code::FLOW_CONTROL,
                "DATA beyond the window",
            ));
        }
        self.recv.received += len as u64;
        Ok(())
    }

    /// The peer's FIN. A second end is a violation.
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

    /// The peer's RESET: what was not read yet is dropped.
    pub fn on_reset(&mut self, code: u32) {
        self.peer_ended = true;
        if matches!(self.recv.half, Half::Open | Half::Ending) {
            self.recv.half = Half::Failed(ChannelError::Reset(code));
        }
        self.recv.buffer = VecDeque::new();
        self.owed.window = false;
        self.owed.stop = None;
    }

    /// The peer's STOP: this half ends with a RESET.
    pub fn on_stop(&mut self, code: u32) {
        if matches!(self.send.half, Half::Open | Half::Ending) {
            self.fail_send(ChannelError::Stopped(code), code);
        }
    }

    pub fn fail_send(&mut self, error: ChannelError, code: u32) {
        self.send.half = Half::Failed(error);
        self.send.buffer = VecDeque::new();
        self.owed.reset = Some(code);
    }

    /// Reads no more; the peer is told to stop.
    pub fn stop(&mut self, code: u32) {
        if matches!(self.recv.half, Half::Open | Half::Ending) {
            self.recv.half = Half::Failed(ChannelError::Ended);
        }
        self.recv.buffer = VecDeque::new();
        self.owed.window = false;
        if !self.peer_ended {
            self.owed.stop = Some(code);
        }
    }

    /// Lets go: an unfinished send half is reset, an unfinished receive half
    /// stopped.
    pub fn release(&mut self) {
        self.released = true;
        if self.send.half == Half::Open {
            self.fail_send(ChannelError::Ended, code::NONE);
        }
        self.stop(code::NONE);
    }
}
