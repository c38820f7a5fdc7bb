//! Byte queues of channels, whose memory goes around.

use std::collections::VecDeque;

/// Emptied buffers that the next channel with bytes takes, so that an idle
/// channel holds no memory and a busy one allocates none.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<VecDeque<u8>>);

/// Spare buffers of one connection, and the bytes up to which each is kept:
/// 1 MiB in all.
const COUNT: usize = 64;
const CAPACITY: usize = 16 << 10;

impl Spare {
    /// Appends to a buffer, with memory from here if it has none.
    pub fn extend(&mut self, buffer: &mut VecDeque<u8>, bytes: &[u8]) {
        if buffer.capacity() == 0
            && let Some(spare) = self.0.pop()
        {
            *buffer = spare;
        }
        buffer.extend(bytes);
    }

    /// Takes the memory of a buffer that is empty.
    pub fn recycle(&mut self, buffer: &mut VecDeque<u8>) {
        if buffer.is_empty() && buffer.capacity() > 0 {
            let empty = std::mem::take(buffer);
            if self.0.len() < COUNT && empty.capacity() <= CAPACITY {
                self.0.push(empty);
            }
        }
    }
}
