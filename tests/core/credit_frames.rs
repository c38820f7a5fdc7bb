//! The frames of credit, as a test's peer says them.

use tcpchan::wire::Control;

/// The loan that a channel begins with.
const LOAN: usize = 2 << 20;

pub fn window(channel: u32, limit: usize) -> Control {
    window_with(channel, limit, LOAN)
}

pub fn window_with(channel: u32, limit: usize, loan: usize) -> Control {
    let (limit, loan) = (limit as u64, loan as u32);
    Control::Window {
        channel,
        limit,
        loan,
    }
}

pub fn fin(channel: u32, debt: usize) -> Control {
    let debt = debt as u64;
    Control::Fin { channel, debt }
}

pub fn reset(channel: u32, debt: usize) -> Control {
    let (code, debt) = (7, debt as u64);
    Control::Reset {
        channel,
        code,
        debt,
    }
}

pub fn returned(total: usize) -> Control {
    let total = total as u64;
    Control::Return { total }
}
