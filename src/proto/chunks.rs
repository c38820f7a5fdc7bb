//! The bytes that wait in one direction of a channel.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// What waits, in order: whole slices, then what was copied since.
#[derive(Debug, Default)]
pub(super) struct Chunks {
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

/// Bytes of memory for the words of a slice; a queue may have room for four times as many as it
/// needs.
const WORDS: usize = 4 * size_of::<Slice>();

/// Bytes of memory for the first bytes that are copied: an idle channel with a short rest
/// holds no more.
pub(super) const FIRST_CAPACITY: usize = 64;

/// Bytes of a slice that was copied. Its memory goes once it was read, so that much
/// that waits is never copied again to give back the memory of what was read of it.
pub(super) const CHUNK: usize = 64 * 1024;

/// Bytes of memory that a buffer keeps of the transport's blocks at most: a few reads of
/// the driver. They may have to be copied at once, and more would delay others.
pub(super) const MOST_KEPT: usize = 8 * 64 * 1024;

/// Slices that an empty one keeps room for, so that a steady stream allocates nothing.
const SLICES: usize = 8;

impl Chunks {
    pub fn len(&self) -> usize {
        self.len + self.copied.len()
    }

    /// Bytes of memory for what waits.
    pub fn memory(&self) -> usize {
        self.kept + self.copied.capacity()
    }

    /// Whether nothing was copied that the bytes of a block would have to follow.
    pub fn may_keep(&self) -> bool {
        self.copied.is_empty()
    }

    /// Appends up to a chunk's bytes.
    pub fn extend(&mut self, bytes: &[u8], most: usize) {
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
    pub fn keep(&mut self, bytes: &[u8], block: &Bytes, most: usize) -> bool {
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

    /// Moves up to `most` bytes from the front to `sink`; how many.
    pub fn take(&mut self, most: usize, sink: &mut impl FnMut(&[u8])) -> usize {
        let taken = match self.len {
            0 => 0,
            _ => self.take_slices(most, sink),
        };
        taken + take_copied(&mut self.copied, most - taken, sink)
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

    /// Gives back memory beyond its bytes, but for so much.
    pub fn fit(&mut self, capacity: usize) {
        self.compact();
        self.copied.shrink_to(capacity);
    }

    /// Empty, it keeps room for few slices, and for so many bytes at most.
    pub fn shrink_empty(&mut self, most: usize) {
        if self.copied.capacity() > most {
            self.copied.shrink_to(most);
        }
        if self.slices.capacity() > SLICES {
            self.slices.shrink_to(SLICES);
        }
    }

    pub fn truncate(&mut self, most: usize) {
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
