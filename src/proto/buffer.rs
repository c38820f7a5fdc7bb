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

impl Buffer {
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn extend(&mut self, bytes: &[u8], spare: &mut Spare) {
        if !bytes.is_empty() {
            let buffer = self.0.get_or_insert_with(|| spare.take());
            buffer.extend(bytes);
        }
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

    /// Gives back memory beyond twice `most` bytes, which it may have needed
    /// when it was to hold more.
    pub fn fit(&mut self, most: usize) {
        if let Some(bytes) = self.0.as_mut().filter(|b| b.capacity() > most * 2) {
            bytes.shrink_to(most);
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
    fn take(&mut self) -> Box<VecDeque<u8>> {
        let Some(buffer) = self.buffers.pop() else {
            return Box::default();
        };
        self.held -= memory(&buffer);
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
