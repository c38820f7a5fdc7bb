//! The state of one channel.

use super::buffer::Buffer;
use super::error::{ConnectionError, ErrorCode, NO_CODE, REFUSED, violation};
use super::half::{Cause, Half};
use super::key::Key;
use super::queues::QueueSet;
use super::recv_budget::{RecvBudget, RecvCredit};
use super::scheduler::Share;
use super::send_budget::{SendBudget, SendCredit};

/// Who opened a channel, and what the other side is known to have of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This side opened it. OPEN has not left, or the peer's GOAWAY says that its
    /// application did not get it.
    Unprocessed,
    /// This side opened it, and OPEN has left.
    Opened,
    /// And DATA, FIN or a WINDOW shows that the peer's application has got it.
    Confirmed,
    /// The peer opened it.
    Peer,
}

/// What the application of this side has done with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// The peer opened it, and it was not accepted yet.
    Offered,
    /// It was opened or accepted, and not used.
    Accepted,
    /// It was read from, written to or finished.
    Used,
    Released,
}

/// The STOP that asks the peer to end what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    /// It leaves where the peer doesn't end its half by itself.
    Deferred,
    Pending,
}

/// The frame that ends what this side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// None waits to leave. FIN may follow the bytes.
    None,
    ResetPending,
    /// Version 0 only: it ends both directions.
    ClosePending,
    /// It has left, or version 0 needs none.
    Sent,
}

#[derive(Debug)]
pub(super) struct Send {
    pub half: Half,
    pub buffer: Buffer,
    pub credit: SendCredit,
    pub end: End,
    /// The peer's STOP came.
    pub stopped: bool,
    /// The last write was given less room than it asked for.
    pub is_short: bool,
}

#[derive(Debug)]
pub(super) struct Recv {
    pub half: Half,
    pub buffer: Buffer,
    pub credit: RecvCredit,
    /// The peer's FIN, RESET or CLOSE came, so it sends nothing more.
    pub ended: bool,
    /// A WINDOW waits to leave.
    pub window_pending: bool,
    pub stop: Stop,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub key: Key,
    pub id: u32,
    pub origin: Origin,
    pub usage: Usage,
    pub send: Send,
    pub recv: Recv,
    pub queues: QueueSet,
    pub share: Share,
    /// Bytes of memory that its buffers were counted with.
    pub counted: usize,
    /// One side gave it up, and that was counted.
    given_up: bool,
}

impl Channel {
    pub fn new(id: u32, origin: Origin, send_limit: u64, credit: RecvCredit) -> Self {
        Channel {
            key: Key::NONE,
            id,
            origin,
            usage: match origin {
                Origin::Peer => Usage::Offered,
                _ => Usage::Accepted,
            },
            send: Send {
                half: Half::Open,
                buffer: Buffer::default(),
                credit: SendCredit::new(send_limit),
                end: End::None,
                stopped: false,
                is_short: false,
            },
            recv: Recv {
                half: Half::Open,
                buffer: Buffer::default(),
                credit,
                ended: false,
                window_pending: false,
                stop: Stop::No,
            },
            queues: QueueSet::default(),
            share: Share::default(),
            counted: 0,
            given_up: false,
        }
    }

    /// Whether this side opened it.
    pub fn is_ours(&self) -> bool {
        self.origin != Origin::Peer
    }

    /// Whether it was not released.
    pub fn is_held(&self) -> bool {
        self.usage != Usage::Released
    }

    /// Whether its OPEN has left, or was received.
    pub fn is_open_sent(&self) -> bool {
        self.origin != Origin::Unprocessed
    }

    /// Nothing more can happen on it, so it can be forgotten.
    pub fn is_closed(&self) -> bool {
        let ended = self.recv.ended && !self.send.half.is_alive();
        !self.is_held() && ended && !self.is_end_pending()
    }

    /// Whether an end waits to leave.
    fn is_end_pending(&self) -> bool {
        let end = matches!(self.send.end, End::ResetPending | End::ClosePending);
        end || self.recv.stop == Stop::Pending
    }

    /// The peer opened it, and the application has accepted it and not used it.
    pub fn is_accepted_unused(&self) -> bool {
        self.usage == Usage::Accepted && !self.is_ours()
    }

    /// Whether a data frame or an end could be sent now, of so many bytes that wait.
    #[inline]
    pub fn can_send(&self, waiting: usize, budget: &SendBudget) -> bool {
        let room = || budget.room(&self.send.credit, waiting as u64) > 0;
        match self.send.half {
            Half::Open => waiting > 0 && room(),
            Half::Finishing => waiting == 0 || room(),
            Half::ResetAfterFlush(_) => true, // without what it may not send
            Half::Done | Half::Failed(_) => false,
        }
    }

    /// Whether more waits than may be sent without borrowing.
    pub fn needs_loan(&self) -> bool {
        self.send.buffer.len() as u64 > self.send.credit.own()
    }

    /// Whether its end follows the bytes that are left to send.
    pub fn ends(&self) -> bool {
        matches!(self.send.half, Half::Finishing | Half::ResetAfterFlush(_))
    }

    /// Whether the application can still read.
    pub fn reads(&self) -> bool {
        self.recv.half == Half::Open && self.is_held()
    }

    /// Whether this side waits for the peer's first byte.
    pub fn is_unanswered(&self) -> bool {
        let over = matches!(
            self.send.half,
            Half::Failed(Cause::Refused | Cause::Ended(_))
        );
        let waits = self.is_ours() && self.is_held() && !over;
        waits && self.recv.credit.received == 0
    }

    /// One side gives it up; whether it is the first to.
    pub fn give_up(&mut self) -> bool {
        !std::mem::replace(&mut self.given_up, true)
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// The peer gave up what it had opened before it got a byte.
    pub fn is_cancel(&self) -> bool {
        !self.is_ours() && self.send.credit.sent == 0
    }

    /// Whether this side opened it, and nothing shows that the peer's application has
    /// got it. Else the peer can't say that it hasn't.
    pub fn may_be_refused(&self) -> bool {
        matches!(self.origin, Origin::Unprocessed | Origin::Opened)
    }

    /// The code that the application may say: a channel that it opened or used can't be
    /// refused.
    pub fn code(&self, code: u32) -> u32 {
        match code {
            REFUSED if self.is_ours() || self.usage == Usage::Used => NO_CODE,
            code => code,
        }
    }

    /// Whether STOP is not needed yet, where the channel is released: the peer gets its
    /// FIN now, and has credit, so that it shows if it sends more.
    fn may_end_by_itself(&self) -> bool {
        let finished = match self.send.half {
            Half::Finishing => self.send.buffer.is_empty(),
            half => half == Half::Done,
        };
        let (recv, limit) = (&self.recv, self.recv.credit.advertised().0);
        let credit = recv.credit.received < limit && !self.recv.window_pending;
        finished && credit && !recv.ended && recv.half.is_alive()
    }
}

/// What the peer does.
impl Channel {
    /// Takes the header of a data frame: the bytes must fit the credit.
    pub fn on_data(&mut self, len: usize, budget: &mut RecvBudget) -> Result<(), ConnectionError> {
        self.check_goes_on("DATA after the end")?;
        self.confirm("DATA after a refusal")?;
        budget.on_data(&mut self.recv.credit, len as u64)
    }

    /// The peer's application has done something with it. Who says that nobody has got
    /// it, says nothing more of it but a RESET.
    #[inline]
    pub fn confirm(&mut self, text: &str) -> Result<(), ConnectionError> {
        if self.is_ours() {
            self.origin = Origin::Confirmed;
        }
        if let Half::Failed(Cause::Refused) = self.send.half {
            self.send.half = Half::Failed(Cause::Connection);
            return violation(ErrorCode::PROTOCOL, text);
        }
        Ok(())
    }

    /// Nothing follows the peer's end, no second end either.
    fn check_goes_on(&self, text: &str) -> Result<(), ConnectionError> {
        match self.recv.ended {
            true => violation(ErrorCode::PROTOCOL, text),
            false => Ok(()),
        }
    }

    /// The peer's clean end, with what it has borrowed.
    pub fn on_fin(&mut self, debt: u64, budget: &mut RecvBudget) -> Result<(), ConnectionError> {
        self.check_goes_on("FIN after the end")?;
        self.confirm("FIN after a refusal")?;
        budget.on_end(&mut self.recv.credit, debt)?;
        if self.recv.half == Half::Open {
            self.recv.half = Half::Finishing;
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

    fn on_end(&mut self, budget: &mut RecvBudget) {
        self.recv.ended = true;
        (self.recv.window_pending, self.recv.stop) = (false, Stop::No);
        let (buffer, credit) = (&mut self.recv.buffer, &mut self.recv.credit);
        if credit.borrowed() > 0 && buffer.len() as u64 <= budget.window() {
            buffer.fit(); // a few bytes in large blocks hold no credit
        }
        budget.settle(credit, buffer.memory());
    }

    /// The peer's STOP: this half ends with a RESET. Whether it had not ended.
    pub fn on_stop(&mut self, code: u32) -> bool {
        self.send.stopped = true;
        let news = self.send.half.is_alive();
        if news {
            self.fail_send(match code {
                REFUSED if self.may_be_refused() => Cause::Refused,
                code => Cause::Stopped(code),
            });
        }
        news
    }
}

/// What this side does.
impl Channel {
    /// Ends the send half; a RESET tells the peer, or a CLOSE that waits already.
    pub fn fail_send(&mut self, cause: Cause) {
        self.send.half = Half::Failed(cause);
        self.send.buffer.clear();
        if self.send.end != End::ClosePending {
            self.send.end = End::ResetPending;
        }
    }

    /// Reads no more; the peer is asked to stop, and what it has borrowed is paid
    /// back with its end.
    pub fn stop(&mut self, code: u32, budget: &mut RecvBudget) {
        if !matches!(self.recv.half, Half::Failed(_)) {
            self.recv.half = Half::Failed(Cause::Ended(code));
            if !self.recv.ended {
                self.recv.stop = Stop::Pending;
            }
        }
        self.recv.buffer.clear();
        self.recv.window_pending = false;
        if self.recv.ended {
            budget.settle(&mut self.recv.credit, 0);
        }
    }

    /// Ends the send half without a FIN: RESET follows what the peer has room for.
    pub fn reset_after_flush(&mut self, code: u32) {
        if self.send.half != Half::Open {
            return;
        }
        match self.send.buffer.is_empty() {
            true => self.fail_send(Cause::Ended(code)),
            false => self.send.half = Half::ResetAfterFlush(code),
        }
    }

    /// Drops what a half that ends with a RESET may not send now, since the peer may
    /// never make room.
    pub fn drop_blocked(&mut self, budget: &SendBudget) {
        if let Half::ResetAfterFlush(_) = self.send.half {
            let waiting = self.send.buffer.len() as u64;
            let room = budget.room(&self.send.credit, waiting);
            self.send.buffer.truncate(room);
        }
    }

    /// An unfinished send half is reset, an unfinished receive half stopped, where that
    /// is needed.
    pub fn release(&mut self, code: u32, budget: &mut RecvBudget) {
        let deferred = self.may_end_by_itself();
        self.usage = Usage::Released;
        self.reset_after_flush(code);
        self.stop(code, budget);
        if deferred {
            self.recv.stop = Stop::Deferred;
        }
    }
}
