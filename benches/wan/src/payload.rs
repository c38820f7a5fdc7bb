//! Bodies whose every byte is known from its position, so that both ends check
//! what they get.

use std::convert::Infallible;
use std::sync::LazyLock;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{Stream, stream};

const PERIOD: u64 = 251;
const CHUNK: u64 = 16 << 10;

static PATTERN: LazyLock<Bytes> =
    LazyLock::new(|| (0..PERIOD + CHUNK).map(|at| (at % PERIOD) as u8).collect());

/// The bytes from `offset`, at most a chunk of them.
pub fn piece(offset: u64, most: u64) -> Bytes {
    let start = (offset % PERIOD) as usize;
    PATTERN.slice(start..start + most.min(CHUNK) as usize)
}

/// A body of this length.
pub fn stream(length: u64) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(0, move |offset| async move {
        let piece = piece(offset, length - offset);
        let next = offset + piece.len() as u64;
        (offset < length).then_some((Ok(piece), next))
    })
}

/// Checks a body as it comes in.
#[derive(Default)]
pub struct Check {
    seen: u64,
}

impl Check {
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let expected = piece(self.seen, bytes.len() as u64);
            let (now, later) = bytes.split_at(expected.len());
            ensure!(now == expected, "wrong bytes near {}", self.seen);
            self.seen += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    pub fn seen(&self) -> u64 {
        self.seen
    }

    pub fn finish(self, length: u64) -> Result<()> {
        ensure!(self.seen == length, "{} bytes of {length}", self.seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_out_of_place_is_seen() {
        let mut check = Check::default();
        check.feed(&piece(0, 100)).unwrap();
        assert!(check.feed(&piece(99, 100)).is_err());
    }

    #[test]
    fn a_short_body_is_seen() {
        let mut check = Check::default();
        check.feed(&piece(0, 99)).unwrap();
        assert!(check.finish(100).is_err());
    }
}
