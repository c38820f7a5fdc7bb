//! Byte queues of channels, whose memory goes around.
#![expect(
    clippy::vec_box,
    reason = "an idle channel is to hold one word for each direction, not four"
)]

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// The bytes of one direction of a channel. Empty, it holds no memory but a
/// pointer, as most of many channels are idle.
#[derive(Debug, Default)]
pub(super) struct Buffer(Option<Box<Queue>>);

/// What waits, in order: whole slices, then what was copied since.
#[derive(Debug, Default)]
struct Queue {
    slices: VecDeque<Slice>,
    /// Bytes in the slices, and of their memory.
    len: usize,
    kept: usize,
    copied: VecDeque<u8>,
}

/// Bytes of a block of memory, which may be the transport's and have other slices.
#[derive(Debug)]
struct Slice {
    bytes: Bytes,
    /// Memory that goes with it: of a block that was copied for it its bytes, of the
    /// transport's its [`WORDS`], and the block if it is the block's last slice here.
    memory: usize,
}

/// Bytes of memory for the words of a slice; the queue may have four times as many as
/// it needs.
const WORDS: usize = 4 * size_of::<Slice>();

/// Bytes of memory that a buffer begins with.
const FIRST_CAPACITY: usize = 64;

/// Bytes of a slice that was copied. Its memory goes once it was read, so that much
/// that waits is never copied again to give back the memory of what was read of it.
const CHUNK: usize = 64 * 1024;

/// Bytes of memory that a buffer keeps of the transport's blocks at most: a few reads of
/// the driver. They may have to be copied at once, and more would delay others.
const MOST_KEPT: usize = 8 * 64 * 1024;

/// Bytes that are dearer to copy than to keep where they are.
const LEAST_KEPT: usize = 1024;

impl Buffer {
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory for what waits.
    pub fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.memory())
    }

    /// Appends bytes, of which there are never more than `most`; so it never
    /// has memory for more.
    pub fn extend(&mut self, bytes: &[u8], most: usize, free: &mut FreeList) {
        if bytes.is_empty() {
            return;
        }
        let queue = self.0.get_or_insert_with(|| free.take(most));
        for bytes in bytes.chunks(CHUNK) {
            queue.extend(bytes, most);
        }
    }

    /// Appends bytes of a block as [`extend`](Self::extend) does, but keeps the
    /// block instead of copying them where that is no more memory than `most`.
    pub fn keep(&mut self, bytes: &[u8], block: &Bytes, most: usize, free: &mut FreeList) {
        if bytes.len() >= LEAST_KEPT && self.0.as_ref().is_none_or(|queue| queue.copied.is_empty())
        {
            let queue = self.0.get_or_insert_with(|| free.take(most));
            if queue.keep(bytes, block, most) {
                return;
            }
        }
        self.extend(bytes, most, free);
    }

    /// Moves up to `most` bytes from the front to `sink`, in slices; how many.
    pub fn take(&mut self, most: usize, free: &mut FreeList, mut sink: impl FnMut(&[u8])) -> usize {
        let Some(queue) = &mut self.0 else {
            return 0;
        };
        let mut taken = match queue.len {
            0 => 0,
            _ => queue.take_slices(most, &mut sink),
        };
        taken += take_copied(&mut queue.copied, most - taken, &mut sink);
        if queue.len() == 0
            && let Some(empty) = self.0.take()
        {
            free.keep(empty);
        }
        taken
    }

    /// Drops what is behind the first `most` bytes, all of which were copied.
    pub fn truncate(&mut self, most: u64) {
        if let Some(queue) = &mut self.0 {
            queue.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
    }

    /// Gives back memory beyond its bytes.
    pub fn fit(&mut self) {
        if let Some(queue) = &mut self.0 {
            queue.compact();
            queue.copied.shrink_to_fit();
        }
    }

    /// Gives back memory for more than four times what it holds, where nothing
    /// says how much that will be.
    pub fn fit_content(&mut self) {
        let most = 4 * self.len().max(FIRST_CAPACITY);
        if let Some(queue) = self.0.as_mut().filter(|queue| queue.memory() > most) {
            queue.compact();
            queue.copied.shrink_to(most / 2);
        }
    }

    pub fn clear(&mut self) {
        self.0 = None;
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.len + self.copied.len()
    }

    /// Bytes of memory for what waits.
    fn memory(&self) -> usize {
        self.kept + self.copied.capacity()
    }

    /// Appends up to a chunk's bytes.
    fn extend(&mut self, bytes: &[u8], most: usize) {
        // One byte in each of many blocks would hold far more memory than its window.
        if self.kept > self.len && self.kept + self.copied.len() + bytes.len() > most {
            self.compact();
        }
        if self.copied.len() + bytes.len() > CHUNK {
            let mut chunk = Vec::from(std::mem::take(&mut self.copied));
            chunk.shrink_to_fit();
            self.push(chunk.into());
        }
        let needed = self.copied.len() + bytes.len();
        if needed > self.copied.capacity() {
            let doubled = match self.len < CHUNK {
                true => (2 * self.copied.capacity()).clamp(FIRST_CAPACITY, CHUNK),
                false => CHUNK, // much comes
            };
            let capacity = doubled.min(most.saturating_sub(self.kept)).max(needed);
            self.copied.reserve_exact(capacity - self.copied.len());
        }
        self.copied.extend(bytes);
    }

    /// Appends a slice that was copied.
    fn push(&mut self, bytes: Bytes) {
        let memory = bytes.len();
        self.len += memory;
        self.kept += memory;
        self.slices.push_back(Slice { bytes, memory });
    }

    /// Keeps bytes of a block if its memory fits, where nothing was copied since.
    fn keep(&mut self, bytes: &[u8], block: &Bytes, most: usize) -> bool {
        let last = self.slices.back_mut();
        let last = last.filter(|last| block.as_ptr_range().contains(&last.bytes.as_ptr()));
        let again = last.as_ref().map_or(0, |last| last.memory - WORDS);
        let memory = block.len() + WORDS;
        let kept = self.kept - again + memory;
        if kept > most.min(MOST_KEPT) {
            return false;
        }
        if kept + self.copied.capacity() > most {
            self.copied = VecDeque::new(); // it is empty
        }
        if let Some(last) = last {
            last.memory = WORDS;
        }
        let bytes = block.slice_ref(bytes);
        self.len += bytes.len();
        self.kept = kept;
        self.slices.push_back(Slice { bytes, memory });
        true
    }

    fn take_slices(&mut self, most: usize, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < most
            && let Some(slice) = self.slices.front_mut()
        {
            let n = slice.bytes.len().min(most - taken);
            sink(&slice.bytes[..n]);
            slice.bytes.advance(n);
            taken += n;
            if slice.bytes.is_empty() {
                self.kept -= slice.memory;
                self.slices.pop_front();
            }
        }
        let most = SLICES.max(2 * self.slices.len());
        if self.slices.capacity() > 2 * most {
            self.slices.shrink_to(most);
        }
        self.len -= taken;
        taken
    }

    fn truncate(&mut self, most: usize) {
        self.copied.truncate(most.saturating_sub(self.len));
        while self.len > most
            && let Some(slice) = self.slices.back_mut()
        {
            let n = (self.len - most).min(slice.bytes.len());
            slice.bytes.truncate(slice.bytes.len() - n);
            self.len -= n;
            if slice.bytes.is_empty() {
                self.kept -= slice.memory;
                self.slices.pop_back();
            }
        }
    }

    /// Copies the slices that have more memory than bytes, and small ones.
    fn compact(&mut self) {
        (self.len, self.kept) = (0, 0);
        let mut copied = Vec::new();
        for Slice { bytes, memory } in std::mem::take(&mut self.slices) {
            if memory != bytes.len() || memory < CHUNK / 2 {
                copied.extend_from_slice(&bytes);
                continue;
            }
            self.push_copied(std::mem::take(&mut copied));
            self.push(bytes);
        }
        self.push_copied(copied);
    }

    fn push_copied(&mut self, copied: Vec<u8>) {
        for chunk in copied.chunks(CHUNK) {
            self.push(Bytes::copy_from_slice(chunk));
        }
    }
}

fn take_copied(copied: &mut VecDeque<u8>, most: usize, sink: &mut impl FnMut(&[u8])) -> usize {
    let taken = most.min(copied.len());
    let mut left = taken;
    while left > 0 {
        let chunk = copied.chunk();
        let n = chunk.len().min(left);
        sink(&chunk[..n]);
        copied.advance(n);
        left -= n;
    }
    taken
}

/// Emptied buffers that the next channel with bytes takes, so that a busy
/// channel allocates nothing.
#[derive(Debug, Default)]
pub(super) struct FreeList {
    buffers: Vec<Box<Queue>>,
    /// Bytes of memory that they hold.
    held: usize,
}

/// Bytes of memory that the buffers of a free list of one connection hold at most.
const MOST_FREE: usize = 1 << 20;

/// Pieces that a free buffer has room for.
const SLICES: usize = 8;

/// Bytes of an empty buffer, with its own words and what an allocator adds.
fn memory(buffer: &Queue) -> usize {
    buffer.memory() + 128
}

impl FreeList {
    /// A buffer for up to `most` bytes. A larger one is cut: a byte that holds
    /// much memory would be cheap for a peer and dear for us.
    fn take(&mut self, most: usize) -> Box<Queue> {
        let Some(mut buffer) = self.buffers.pop() else {
            return Box::default();
        };
        self.held -= memory(&buffer);
        if buffer.copied.capacity() > most {
            buffer.copied.shrink_to(most);
        }
        buffer
    }

    fn keep(&mut self, mut buffer: Box<Queue>) {
        if buffer.slices.capacity() > SLICES {
            buffer.slices.shrink_to(SLICES);
        }
        if self.held + memory(&buffer) <= MOST_FREE {
            self.held += memory(&buffer);
            self.buffers.push(buffer);
        }
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        *self = FreeList::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like chance (Marsaglia's xorshift).
    fn below(chance: &mut u64, most: usize) -> usize {
        *chance ^= *chance << 13;
        *chance ^= *chance >> 7;
        *chance ^= *chance << 17;
        (*chance % most as u64) as usize
    }

    /// Bytes that are kept and bytes that are copied, in any order.
    #[test]
    fn order_and_memory_are_kept() {
        const BLOCK: usize = 8 << 10;
        let most = 5 * BLOCK;
        let (mut buffer, mut free) = (Buffer::default(), FreeList::default());
        let (mut put, mut got, mut kept) = (0_u8, 0_u8, 0);
        let mut chance = 1;
        for _ in 0..10_000 {
            let room = most - buffer.len();
            let mut next = || {
                put = put.wrapping_add(1);
                put
            };
            let len = below(&mut chance, BLOCK + 1);
            match below(&mut chance, 5) {
                0 if len <= room => {
                    let bytes: Vec<u8> = (0..len).map(|_| next()).collect();
                    buffer.extend(&bytes, most, &mut free);
                }
                1 | 2 if BLOCK <= room => {
                    let block: Bytes = (0..BLOCK).map(|_| next()).collect();
                    for bytes in [&block[..len], &block[len..]] {
                        buffer.keep(bytes, &block, most, &mut free);
                    }
                }
                _ => {
                    buffer.take(3 * len, &mut free, |bytes| {
                        for byte in bytes {
                            got = got.wrapping_add(1);
                            assert_eq!(*byte, got);
                        }
                    });
                }
            }
            let queue = buffer.0.as_ref();
            assert!(queue.is_none_or(|queue| queue.memory() <= most));
            kept += usize::from(queue.is_some_and(|queue| queue.kept > 0));
        }
        assert!(kept > 1_000, "kept {kept} times");
    }

    #[test]
    fn one_that_is_to_fit_keeps_no_large_block() {
        let (mut buffer, mut free) = (Buffer::default(), FreeList::default());
        let block = Bytes::from(vec![7; 64 << 10]);
        buffer.keep(&block[..2_000], &block, 1 << 20, &mut free);
        assert!(!block.is_unique());
        buffer.fit();
        assert!(block.is_unique());
        assert_eq!(buffer.len(), 2_000);
    }

    #[test]
    fn no_more_is_kept_than_may_be_copied_at_once() {
        let (mut buffer, mut free) = (Buffer::default(), FreeList::default());
        let blocks: Vec<Bytes> = (0..20).map(|_| vec![7; 64 << 10].into()).collect();
        for block in &blocks {
            buffer.keep(block, block, 16 << 20, &mut free);
        }
        assert_eq!(buffer.len(), 20 * (64 << 10));
        assert!(blocks.iter().filter(|block| !block.is_unique()).count() <= MOST_KEPT >> 16);
    }
}
