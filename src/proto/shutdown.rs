//! How far the connection is from its end.

use super::error::{ChannelError, ConnectionError, TOO_SLOW};
use super::half::Cause;
use crate::wire::Control;

#[derive(Debug, Default)]
pub(super) struct Shutdown {
    pub drain: Drain,
    /// The peer's DRAIN came.
    pub peer_drains: bool,
    pub last: Option<LastFrame>,
    /// Why the connection ended, if it has.
    pub error: Option<ConnectionError>,
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
    pub fn has_ended(&self) -> bool {
        self.error.is_some()
    }

    /// What a channel's application learns of a half that has failed.
    pub fn error_of(&self, cause: Cause) -> ChannelError {
        match (cause, &self.error) {
            (Cause::Reset(code), _) => ChannelError::Reset(code),
            (Cause::Stopped(code), _) => ChannelError::Stopped(code),
            (Cause::Refused, end) => ChannelError::Refused(end.clone()),
            (Cause::Connection, Some(error)) => ChannelError::Connection(error.clone()),
            (Cause::Ended(TOO_SLOW), _) => ChannelError::TooSlow,
            (Cause::Ended(_) | Cause::Connection, _) => ChannelError::Ended,
        }
    }
}
