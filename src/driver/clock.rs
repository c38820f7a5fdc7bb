//! The time that the driver goes by.

use std::time::Instant;

/// The time as the runtime sees it, which a test may pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into()
}
