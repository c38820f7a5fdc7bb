//! Byte queues of channels, whose memory goes around.
#![expect(
    clippy::vec_box,
    reason = "an idle channel is to hold one word for each direction, not four"
)]

use bytes::Bytes;

use super::chunks::{CHUNK, Chunks, FIRST_CAPACITY};

/// The bytes of one direction of a channel. Empty, it holds no memory but a
/// pointer, as most of many channels are idle.
#[derive(Debug, Default)]
pub(super) struct Buffer(Option<Box<Chunks>>);

/// Bytes that are dearer to copy than to keep where they are.
const LEAST_KEPT: usize = 1024;

impl Buffer {
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chunks| chunks.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory for what waits.
    pub fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |chunks| chunks.memory())
    }

    /// Appends bytes, of which there are never more than `most`; so it never
    /// has memory for more.
    pub fn extend(&mut self, bytes: &[u8], most: usize, free: &mut FreeList) {
        if bytes.is_empty() {
            return;
        }
        let chunks = self.0.get_or_insert_with(|| free.take(most));
        for bytes in bytes.chunks(CHUNK) {
            chunks.extend(bytes, most);
        }
    }

    /// Appends bytes of a block as [`extend`](Self::extend) does, but keeps the
    /// block instead of copying them where that is no more memory than `most`.
    pub fn keep(&mut self, bytes: &[u8], block: &Bytes, most: usize, free: &mut FreeList) {
        if bytes.len() >= LEAST_KEPT && self.0.as_ref().is_none_or(|chunks| chunks.may_keep()) {
            let chunks = self.0.get_or_insert_with(|| free.take(most));
            if chunks.keep(bytes, block, most) {
                return;
            }
        }
        self.extend(bytes, most, free);
    }

    /// Moves up to `most` bytes from the front to `sink`, in slices; how many.
    pub fn take(&mut self, most: usize, free: &mut FreeList, mut sink: impl FnMut(&[u8])) -> usize {
        let Some(chunks) = &mut self.0 else {
            return 0;
        };
        let taken = chunks.take(most, &mut sink);
        if chunks.len() == 0
            && let Some(empty) = self.0.take()
        {
            free.keep(empty);
        }
        taken
    }

    /// Drops what is behind the first `most` bytes, all of which were copied.
    pub fn truncate(&mut self, most: u64) {
        if let Some(chunks) = &mut self.0 {
            chunks.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
    }

    /// Gives back memory beyond its bytes.
    pub fn fit(&mut self) {
        if let Some(chunks) = &mut self.0 {
            chunks.fit(0);
        }
    }

    /// Gives back memory for more than four times what it holds, where nothing
    /// says how much that will be.
    pub fn fit_content(&mut self) {
        let most = 4 * self.len().max(FIRST_CAPACITY);
        if let Some(chunks) = self.0.as_mut().filter(|chunks| chunks.memory() > most) {
            chunks.fit(most / 2);
        }
    }

    pub fn clear(&mut self) {
        self.0 = None;
    }
}

/// Emptied buffers that the next channel with bytes takes, so that a busy
/// channel allocates nothing.
#[derive(Debug, Default)]
pub(super) struct FreeList {
    buffers: Vec<Box<Chunks>>,
    /// Bytes of memory that they hold.
    held: usize,
}

/// Bytes of memory that the buffers of a free list of one connection hold at most.
const MOST_FREE: usize = 1 << 20;

/// Bytes of an empty buffer, with its own words and what an allocator adds.
fn memory(buffer: &Chunks) -> usize {
    buffer.memory() + 128
}

impl FreeList {
    /// A buffer for up to `most` bytes. A larger one is cut: a byte that holds
    /// much memory would be cheap for a peer and dear for us.
    fn take(&mut self, most: usize) -> Box<Chunks> {
        let Some(mut buffer) = self.buffers.pop() else {
            return Box::default();
        };
        self.held -= memory(&buffer);
        buffer.shrink_empty(most);
        buffer
    }

    fn keep(&mut self, mut buffer: Box<Chunks>) {
        buffer.shrink_empty(usize::MAX);
        if self.held + memory(&buffer) <= MOST_FREE {
            self.held += memory(&buffer);
            self.buffers.push(buffer);
        }
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        self.held
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
                    kept += usize::from(!block.is_unique());
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
            let chunks = buffer.0.as_ref();
            assert!(chunks.is_none_or(|chunks| chunks.memory() <= most));
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
        assert!(
            blocks.iter().filter(|block| !block.is_unique()).count()
                <= super::super::chunks::MOST_KEPT >> 16
        );
    }
}
