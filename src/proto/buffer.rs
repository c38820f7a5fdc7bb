//! Byte queues of channels, whose memory goes around.
#![expect(
    clippy::box_collection,
    clippy::vec_box,
    reason = "an idle channel is to hold one word for each direction, not four"
)]

use std::collections::VecDeque;

/// The bytes of one direction of a channel. Empty, it holds no memory but a
/// pointer, as most of many channels are idle.
#[derive(Debug, Default)]
pub(super) struct Buffer(Option<Box<VecDeque<u8>>>);

/// Bytes of memory that a buffer begins with.
const LEAST: usize = 64;

impl Buffer {
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes, of which there are never more than `most`; so it never
    /// has memory for more.
    pub fn extend(&mut self, bytes: &[u8], most: usize, spare: &mut Spare) {
        if bytes.is_empty() {
            return;
        }
        let buffer = self.0.get_or_insert_with(|| spare.take(most));
        let needed = buffer.len() + bytes.len();
        if needed > buffer.capacity() {
            let doubled = (2 * buffer.capacity()).max(LEAST);
            buffer.reserve_exact(doubled.min(most).max(needed) - buffer.len());
        }
        buffer.extend(bytes);
    }

    /// Moves up to `most` bytes from the front to `sink`, in one or two pieces;
    /// how many.
    pub fn take(&mut self, most: usize, spare: &mut Spare, mut sink: impl FnMut(&[u8])) -> usize {
        let Some(buffer) = &mut self.0 else {
            return 0;
        };
        let (a, b) = buffer.as_slices();
        let first = a.len().min(most);
        let second = b.len().min(most - first);
        for piece in [&a[..first], &b[..second]] {
            if !piece.is_empty() {
                sink(piece);
            }
        }
        if first + second == buffer.len() {
            buffer.clear();
            if let Some(empty) = self.0.take() {
                spare.keep(empty);
            }
        } else {
            buffer.drain(..first + second);
        }
        first + second
    }

    /// Drops what is behind the first `most` bytes.
    pub fn truncate(&mut self, most: u64) {
        if let Some(bytes) = &mut self.0 {
            bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
    }

    /// Gives back memory for more than `most` bytes, as there are no more from
    /// now on.
    pub fn fit(&mut self, most: usize) {
        if let Some(bytes) = self.0.as_mut().filter(|b| b.capacity() > most) {
            bytes.shrink_to(most);
        }
    }

    /// Gives back memory for more than four times what it holds, where nothing
    /// says how much that will be.
    pub fn fit_content(&mut self) {
        let most = 4 * self.len().max(LEAST);
        if let Some(bytes) = self.0.as_mut().filter(|b| b.capacity() > most) {
            bytes.shrink_to(most / 2);
        }
    }

    pub fn clear(&mut self) {
        self.0 = None;
    }
}

/// Emptied buffers that the next channel with bytes takes, so that a busy
/// channel allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<Box<VecDeque<u8>>>,
    /// Bytes of memory that they hold.
    held: usize,
}

/// Bytes of memory that the spare buffers of one connection hold at most.
const MOST: usize = 1 << 20;

/// Bytes of a buffer, with its own words and what an allocator adds.
fn memory(buffer: &VecDeque<u8>) -> usize {
    buffer.capacity() + 64
}

impl Spare {
    /// A buffer for up to `most` bytes. A larger one is cut: a byte that holds
    /// much memory would be cheap for a peer and dear for us.
    fn take(&mut self, most: usize) -> Box<VecDeque<u8>> {
        let Some(mut buffer) = self.buffers.pop() else {
            return Box::default();
        };
        self.held -= memory(&buffer);
        if buffer.capacity() > most {
            buffer.shrink_to(most);
        }
        buffer
    }

    fn keep(&mut self, buffer: Box<VecDeque<u8>>) {
        if self.held + memory(&buffer) <= MOST {
            self.held += memory(&buffer);
            self.buffers.push(buffer);
        }
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        *self = Spare::default();
    }
}
