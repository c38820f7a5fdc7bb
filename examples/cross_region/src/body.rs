//! Bodies whose every byte can be checked.

use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::Failure;

/// The largest body that is sent: it is in memory once, whatever the load.
pub const LARGEST: usize = 16 << 20;

/// Bytes that differ from place to place, so that none can be swapped unseen.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    (0..LARGEST as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
});

/// The body of this length.
pub fn of_length(length: usize) -> Result<Bytes, Failure> {
    if length > LARGEST {
        return Err(format!("a body of {length} bytes is above {LARGEST}").into());
    }
    Ok(PATTERN.slice(..length))
}

/// Reads a body to its end and compares it with what it has to be.
pub async fn check<B>(mut body: B, expected: Bytes) -> Result<(), Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Failure>,
{
    let mut rest = expected;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else {
            continue; // trailers
        };
        if !rest.starts_with(&data) {
            return Err("a body has other bytes than it has to have".into());
        }
        rest.advance(data.len());
    }
    if !rest.is_empty() {
        return Err(format!("a body lacks its last {} bytes", rest.len()).into());
    }
    Ok(())
}
