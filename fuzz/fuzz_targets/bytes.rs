//! What every stream carries, so that a byte in the wrong place is seen.

use std::sync::LazyLock;

/// A prime, so that it fits no window or frame.
const PERIOD: usize = 65_521;

const MOST: usize = 1 << 16;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |i: usize| ((i % PERIOD).wrapping_mul(2_654_435_761) >> 16) as u8;
    (0..PERIOD + MOST).map(byte).collect()
});

/// What stands at a place of a channel's stream.
pub fn pattern(channel: u32, from: u64, len: usize) -> &'static [u8] {
    let start = (from as usize + channel as usize * 31) % PERIOD;
    &BYTES[start..start + len]
}
