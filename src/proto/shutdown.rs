//! How far the connection is from its end.

use super::channel::Cause;
use super::error::{ChannelError, ConnectionError};
use crate::wire::Control;

#[derive(Debug, Default)]
pub(super) struct Shutdown {
    drain: Drain,
    /// The peer's DRAIN came.
    peer_drains: bool,
    last: Option<LastFrame>,
    error: Option<ConnectionError>,
}

/// How far this side's drain has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Drain {
    #[default]
    No,
    /// DRAIN waits to leave.
    Pending,
    /// It has left, with the ping of this token. What the peer opened before it knew has
    /// arrived when that is answered.
    Sent(u64),
    Done,
}

/// What still leaves when the connection has ended.
#[derive(Debug)]
pub(super) enum LastFrame {
    GoAway(Control),
    /// The hello alone, to a peer of another version.
    Hello,
}

impl Shutdown {
    pub fn drain(&self) -> Drain {
        self.drain
    }

    pub fn set_drain(&mut self, drain: Drain) {
        self.drain = drain;
    }

    pub fn peer_drains(&self) -> bool {
        self.peer_drains
    }

    /// The peer's DRAIN; whether it is the first.
    pub fn on_drain(&mut self) -> bool {
        !std::mem::replace(&mut self.peer_drains, true)
    }

    pub fn has_last(&self) -> bool {
        self.last.is_some()
    }

    pub fn set_last(&mut self, last: LastFrame) {
        self.last = Some(last);
    }

    pub fn take_last(&mut self) -> Option<LastFrame> {
        self.last.take()
    }

    /// Why the connection ended, if it has.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.error.as_ref()
    }

    pub fn has_ended(&self) -> bool {
        self.error.is_some()
    }

    pub fn end(&mut self, error: ConnectionError) {
        self.error = Some(error);
    }

    /// What a channel's application learns of a half that has failed.
    pub fn error_of(&self, cause: Cause) -> ChannelError {
        match (cause, &self.error) {
            (Cause::Reset(code), _) => ChannelError::Reset(code),
            (Cause::Stopped(code), _) => ChannelError::Stopped(code),
            (Cause::Refused, end) => ChannelError::Refused(end.clone()),
            (Cause::Connection, Some(error)) => ChannelError::Connection(error.clone()),
            (Cause::Ended(_) | Cause::Connection, _) => ChannelError::Ended,
        }
    }
}
