//! The I/O object of one connection and the bytes on their way to it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

#[cfg(feature = "net")]
use super::clock::now;
use super::send::coalesce::Coalescer;
use super::send::decision::Known;
use super::send::pacer::Pacer;
use crate::observability::Tap;
use crate::proto;
#[cfg(feature = "net")]
use crate::{SocketProfile, socket::DeferredCongestion};

/// What carries a connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Any {}

impl<T: AsyncRead + AsyncWrite + Send + Any> Io for T {}

/// The most bytes of one read: many frames for each system call, and few enough to stay in
/// the processor's cache while they are copied to their channels.
pub(super) const READ: usize = 64 * 1024;

thread_local! {
    /// Blocks to read into. The bytes of a block go to their channels before the next read, so
    /// one block serves all connections of a thread. Only a full block may be kept by channels,
    /// until its bytes are read.
    static INPUT: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };

    /// The output buffer. Most output is written before more is encoded, so one serves a thread.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Blocks that a thread keeps: as many as one work budget fills, and some for other
/// connections.
const BLOCKS: usize = 6;

/// Bytes of a read up to which it is taken for a message that will be answered, not for a part of
/// a transfer.
pub(super) const MESSAGE: usize = 4 * 1024;

/// Reads of one block. A transport may give less than a block at a time: rustls gives one
/// record of 16 KiB.
const READS: usize = 8;

/// A write quantum: bytes that are encoded for one write. They can't be reordered any
/// more, so a quantum is small while the transport is slow. It doubles up to the maximum
/// while the transport takes all at once, which saves system calls.
///
/// Both are multiples of a TLS record (16 KiB) and what rustls buffers at once (64 KiB).
/// With a little more, the rest would be a record and a packet of its own.
const QUANTUM: usize = 64 * 1024;
const MAX_QUANTUM: usize = 256 * 1024;

/// What was read.
pub(super) enum Input<'a> {
    Bytes(&'a [u8]),
    /// As many bytes as the memory has.
    Block(Bytes),
}

impl Deref for Input<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Input::Bytes(bytes) => bytes,
            Input::Block(block) => block,
        }
    }
}

/// Whether the transport is write-blocked, and what found that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriteBlocked {
    No,
    Write,
    /// Only that: TLS takes bytes for a while that its socket does not.
    Flush,
}

pub(super) struct Transport {
    /// None once the connection is over, so that whoever still holds a handle
    /// holds no socket.
    io: Option<Pin<Box<dyn Io>>>,
    output: Vec<u8>,
    written: usize,
    /// Bytes to take from the core at once.
    quantum: usize,
    unflushed: bool,
    blocked: WriteBlocked,
    /// It took bytes after that.
    resumed: bool,
    pub coalescer: Coalescer,
    pub pacer: Pacer,
    /// What waits has data of channels.
    has_data: bool,
    tap: Tap,
    /// Its socket is to get another congestion control.
    #[cfg(feature = "net")]
    deferred: Option<DeferredCongestion>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.output.len() - self.written;
        f.debug_struct("Transport")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Transport {
    pub fn new(io: impl Io, tap: Tap, pacer: Pacer) -> Self {
        Transport {
            io: Some(Box::pin(io)),
            output: Vec::new(),
            written: 0,
            quantum: QUANTUM,
            unflushed: false,
            blocked: WriteBlocked::No,
            resumed: false,
            coalescer: Coalescer::new(),
            pacer,
            has_data: false,
            tap,
            #[cfg(feature = "net")]
            deferred: None,
        }
    }

    /// Has its socket, if it is one, get what the profile keeps for later.
    #[cfg(feature = "net")]
    pub fn for_socket(mut self, profile: &SocketProfile, now: Instant) -> Self {
        let io = self.io.as_ref();
        self.deferred = io.and_then(|io| profile.for_connection(io.as_ref().get_ref(), now));
        self
    }

    /// The I/O object, until the connection is over.
    #[cfg(feature = "net")]
    pub fn io(&self) -> Option<&dyn Any> {
        let io: &dyn Io = self.io.as_ref()?.as_ref().get_ref();
        Some(io)
    }

    /// Whether the transport took bytes after it was write-blocked; true once.
    pub fn resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// Whether nothing waits to be written and more could be.
    pub fn is_idle(&self) -> bool {
        self.has_taken_all() && self.io.is_some()
    }

    /// Whether nothing waits to be written.
    pub fn has_taken_all(&self) -> bool {
        self.written == self.output.len() && !self.unflushed
    }

    /// Whether nothing is to be written or reported.
    pub fn is_at_rest(&self) -> bool {
        self.is_idle() && !self.resumed
    }

    /// Whether a whole write quantum was encoded.
    pub fn has_quantum(&self) -> bool {
        self.output.len() >= QUANTUM
    }

    /// What is known after [`fill`](Self::fill); the core has `more` to send.
    pub fn encoded(&mut self, more: bool, now: Instant) -> Known {
        let idle = self.is_idle();
        Known::Encoded {
            bytes: self.output.len() - self.written,
            started: self.written > 0,
            unflushed: !idle && self.output.is_empty(),
            window_ends: self.coalescer.ends(),
            paced_until: (idle && more).then(|| self.pacer.until(now)).flatten(),
            now,
        }
    }

    /// What waited was written.
    pub fn note_written(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_data) {
            self.coalescer.open(now);
        }
    }

    /// Encodes what the core has pending, up to a quantum and `most` bytes.
    pub fn fill(&mut self, core: &mut proto::Connection, most: usize, now: Instant) {
        let room = self.room(core.sending(), now).min(most);
        // Of what waits for its time a ping, its answer and the like need not.
        let takes = self.written == 0 && (room > 0 || self.output.is_empty());
        if takes && core.wants_transmit() {
            self.borrow_output();
            let before = core.data_sent();
            core.poll_transmit(&mut self.output, room, now);
            self.has_data |= core.data_sent() > before;
        }
    }

    /// Has the pacer see how the link fares. Bytes a second that leave, if they are paced.
    pub fn pace(&mut self, core: &mut proto::Connection, now: Instant) -> Option<u64> {
        self.pacer
            .on_sample(core.delivery_sample(), core.min_rtt(), now);
        if self.pacer.asks() {
            core.probe(now);
        }
        self.pacer.pace()
    }

    /// Notes whether something waits for the link.
    pub fn note_waiting(&mut self, paced: bool, now: Instant) {
        self.pacer
            .note(paced || self.blocked != WriteBlocked::No, now);
    }

    /// Bytes that may be taken from the core, where so many channels have some. A writer
    /// that is alone fills up what was taken, so with more a small rest would remain.
    fn room(&mut self, sending: usize, now: Instant) -> usize {
        let quantum = match sending {
            ..2 => QUANTUM,
            _ => self.quantum,
        };
        let most = quantum.min(self.pacer.room(now));
        most.saturating_sub(self.output.len())
    }

    /// Takes the thread's output, which goes back when it was written.
    fn borrow_output(&mut self) {
        if self.output.capacity() == 0 {
            self.output = OUTPUT.take();
        }
    }

    /// Bytes of memory of what was encoded and not written.
    pub fn output_memory(&self) -> usize {
        self.output.capacity()
    }

    /// Gives back its memory beyond what is left to be written; how much that is.
    pub fn fit_output(&mut self) -> usize {
        let gone = self.written.saturating_sub(1); // one byte tells that the write has begun
        self.output.drain(..gone);
        self.output.shrink_to_fit();
        self.written -= gone;
        self.output.capacity()
    }

    /// Reads up to `most` bytes, in several reads if fewer come, since only a read
    /// that finds nothing has the waker of `cx` woken when there is more.
    /// `sink` gets the bytes, or learns that no more will come: no bytes, or the
    /// transport's error. If it says that the caller reads again soon, a message is all that
    /// is read now. Ready with whether the last read found more than there was room for; after such
    /// a message it is not known.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        mut sink: impl FnMut(io::Result<Input<'_>>) -> bool,
    ) -> Poll<bool> {
        let Some(io) = &mut self.io else {
            sink(Ok(Input::Bytes(&[])));
            return Poll::Ready(false);
        };
        let mut block = take_block();
        let (mut last, mut passed) = (Poll::Pending, 0);
        for read in 0..READS {
            let left = most - passed - block.len();
            let mut room = (&mut block).limit(left);
            last = pin!(io.read_buf(&mut room)).poll(cx);
            if !matches!(last, Poll::Ready(Ok(1..))) || passed + block.len() == most {
                break;
            }
            if read == 0 && block.len() <= MESSAGE {
                self.tap.received(&block);
                let again = sink(Ok(Input::Bytes(&block)));
                passed = block.len();
                block.clear();
                if again {
                    put_back(block);
                    return Poll::Ready(false);
                }
            }
        }
        if !block.is_empty() {
            self.tap.received(&block);
            pass_on(block, &mut sink);
        } else {
            put_back(block);
            if last.is_pending() {
                return match passed {
                    0 => Poll::Pending,
                    _ => Poll::Ready(false),
                };
            }
        }
        match last {
            Poll::Ready(Ok(1..)) => return Poll::Ready(true),
            Poll::Ready(end) => {
                sink(end.map(|_| Input::Bytes(&[])));
            }
            Poll::Pending => {}
        }
        Poll::Ready(false)
    }

    /// Writes what waits. `Ok` with how far it came; the waker of `cx` is
    /// woken when more can go.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        #[cfg(feature = "net")]
        self.choose_congestion();
        let Some(io) = &mut self.io else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        while self.written < self.output.len() {
            let bytes = &self.output[self.written..];
            match io.as_mut().poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => {
                    self.tap.sent(&bytes[..n]);
                    self.written += n;
                    self.pacer.spend(n);
                    #[cfg(feature = "net")]
                    if let Some(deferred) = &mut self.deferred {
                        deferred.on_written(n);
                    }
                    self.unflushed = true;
                    if self.blocked == WriteBlocked::Write {
                        (self.blocked, self.resumed) = (WriteBlocked::No, true);
                    }
                }
                Poll::Pending => {
                    (self.blocked, self.quantum) = (WriteBlocked::Write, QUANTUM);
                    return Ok(Poll::Pending);
                }
            }
        }
        if self.output.len() >= self.quantum {
            self.quantum = MAX_QUANTUM.min(self.quantum * 2);
        }
        self.output.clear();
        self.written = 0;
        OUTPUT.set(std::mem::take(&mut self.output));
        if self.unflushed {
            if io.as_mut().poll_flush(cx)?.is_pending() {
                (self.blocked, self.quantum) = (WriteBlocked::Flush, QUANTUM);
                return Ok(Poll::Pending);
            }
            self.unflushed = false;
            self.resumed |=
                std::mem::replace(&mut self.blocked, WriteBlocked::No) != WriteBlocked::No;
        }
        Ok(Poll::Ready(()))
    }

    /// Has the socket get what it is to have, if it is time before what waits is
    /// written.
    #[cfg(feature = "net")]
    fn choose_congestion(&mut self) {
        let waiting = self.output.len() - self.written;
        if let (Some(deferred), Some(io)) = (&mut self.deferred, &self.io)
            && deferred.is_due(
                waiting,
                self.blocked != WriteBlocked::No,
                self.pacer.rtt(),
                now(),
            )
            && deferred.choose(io.as_ref().get_ref())
        {
            self.deferred = None;
        }
    }

    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => io.as_mut().poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether the I/O object was given away.
    pub fn is_gone(&self) -> bool {
        self.io.is_none()
    }

    /// Gives the I/O object away, to be dropped without a lock.
    pub fn take(&mut self) -> Option<impl Sized + use<>> {
        self.io.take()
    }
}

/// An empty block to read into.
fn take_block() -> BytesMut {
    let block = INPUT.with_borrow_mut(VecDeque::pop_front);
    let mut block = block.unwrap_or_default();
    block.reserve(READ); // in place, unless channels keep what was in it
    block
}

fn put_back(block: BytesMut) {
    INPUT.with_borrow_mut(|blocks| blocks.push_front(block));
}

/// Gives `sink` what was read. A full block may be kept, so others are read into
/// before it is again.
fn pass_on(mut block: BytesMut, sink: &mut impl FnMut(io::Result<Input<'_>>) -> bool) {
    if block.len() < READ {
        sink(Ok(Input::Bytes(&block)));
        block.clear();
        return put_back(block);
    }
    sink(Ok(Input::Block(block.split().freeze())));
    INPUT.with_borrow_mut(|blocks| blocks.push_back(block));
    if INPUT.with_borrow(VecDeque::len) < BLOCKS {
        put_back(BytesMut::new());
    }
}
