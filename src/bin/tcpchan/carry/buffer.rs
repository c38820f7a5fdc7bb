//! Bytes on their way. A connection that is idle holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that one read takes, as many as the driver's: fewer would make more system calls.
const SIZE: usize = 64 * 1024;

/// Unused buffers that a thread keeps, 1 MiB in all, so that a read seldom allocates.
const KEPT: usize = 16;

thread_local! {
    static UNUSED: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// What a read took.
pub struct Chunk {
    buffer: Box<[u8]>,
    len: usize,
}

impl Chunk {
    fn new() -> Self {
        let unused = UNUSED.with_borrow_mut(Vec::pop);
        Chunk {
            buffer: unused.unwrap_or_else(|| vec![0; SIZE].into()),
            len: 0,
        }
    }

    /// Waits for bytes; none are the end.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Chunk> {
        poll_fn(|cx| {
            let mut chunk = Chunk::new();
            let mut bytes = ReadBuf::new(&mut chunk.buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut bytes))?;
            chunk.len = bytes.filled().len();
            Poll::Ready(Ok(chunk))
        })
        .await
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        UNUSED.with_borrow_mut(|unused| {
            if unused.len() < KEPT {
                unused.push(buffer);
            }
        });
    }
}
