//! Credit: what a side may send before the other has read it (W10 to W12).
//!
//! Each channel has a window of its own, always. Beyond it a channel borrows from
//! a budget that all channels of a direction share. What was read is paid back, so
//! a channel that rests holds nothing of the budget. No time is in the arithmetic.

/// Bytes that a channel may borrow before a WINDOW says how many. An answer of 2 MiB
/// leaves whole, as much as a link of 200 Mbit/s and 80 ms carries in a round trip. A
/// reader that stands still holds no more of the budget.
pub(super) const FIRST_LOAN: u32 = 2 << 20;

/// The least rise of a RETURN (W12).
pub(super) fn least_return(window: u64, budget: u64) -> u64 {
    window.div_ceil(2).min(budget.div_ceil(4)).max(1)
}
