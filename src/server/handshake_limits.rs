use std::time::Duration;

/// The limits of what a connection does before its first frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub within: Duration,
    pub at_once: usize,
}
