//! The two halves of a channel, which end on their own.
//!
//! ```text
//! send:  Open --finish--> Finishing --FIN sent--> Done
//!        Open --released--> ResetAfterFlush --RESET sent--> Done
//!        Open, Finishing, ResetAfterFlush --reset, or STOP received--> Failed
//! recv:  Open --FIN received--> Finishing --read to its end--> Done
//!        Open --RESET received, or stop--> Failed
//! ```

use super::error::{NO_CODE, REFUSED};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Open,
    /// Sending: FIN follows the bytes. Receiving: FIN was received.
    Finishing,
    /// Sending: a RESET with this code follows the bytes.
    ResetAfterFlush(u32),
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
        matches!(
            self,
            Half::Open | Half::Finishing | Half::ResetAfterFlush(_)
        )
    }

    /// What a frame says of its failure.
    pub fn code(self) -> u32 {
        match self {
            // W14.3: a STOP with it does not mean that this side has refused.
            Half::Failed(Cause::Stopped(REFUSED)) => NO_CODE,
            Half::Failed(Cause::Reset(code) | Cause::Stopped(code) | Cause::Ended(code)) => code,
            Half::Failed(Cause::Refused) => REFUSED,
            _ => NO_CODE,
        }
    }
}
