//! Which channel sends next.
//!
//! What counts is how much a channel has sent since it rested. A little goes
//! ahead of all, as fq_codel treats sparse flows. What follows, up to [`STREAMS_FROM`],
//! leaves one channel after the other, so that answers of a middling size end
//! one by one and not all at the end. Beyond that a channel streams, and those
//! share by round robin. Whoever is behind others gets a third of what leaves
//! beside those, so what streams gets a ninth at least.

use std::collections::VecDeque;

use super::key::Key;
use super::queues;

/// One DATA frame of full size: a turn of a channel that streams.
const QUANTUM: u32 = crate::wire::MAX_DATA as u32;

/// Bytes that a channel sends ahead of all: a small answer with its headers.
/// More would let the beginnings of many large answers overtake whole ones.
const SPARSE: u32 = QUANTUM / 4;

/// Bytes from which a channel streams: 128 KiB. Answers below it end one by one; see above.
const STREAMS_FROM: u32 = 8 * QUANTUM;

/// Bytes that may go ahead of a frame of those behind: two frames to one, so those behind
/// get a third.
const HEAD_START: u32 = 2 * QUANTUM;

/// What a channel may send before others have their turn.
#[derive(Debug)]
pub(super) struct Share {
    left: u32,
    /// The turn at which the channel counts as rested.
    rested_at: u64,
}

impl Default for Share {
    /// That of a new channel, which is quiet.
    fn default() -> Self {
        Share {
            left: STREAMS_FROM,
            rested_at: 0,
        }
    }
}

impl Share {
    /// Bytes that it may send in its turn.
    pub fn turn(&self) -> usize {
        let first = self.left.saturating_sub(STREAMS_FROM - SPARSE);
        let turn = if first > 0 { first } else { self.left };
        turn as usize
    }
}

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    /// Channels that have nothing left to send but their end.
    ends: VecDeque<Key>,
    quiet: VecDeque<Key>,
    started: VecDeque<Key>,
    streaming: VecDeque<Key>,
    /// Turns that channels which are not quiet have had.
    turns: u64,
    /// Bytes of quiet channels since another had its turn, and of those that
    /// have started since one that streams had.
    ahead: [u32; 2],
    /// Where the last turn counts.
    class: usize,
    /// Bytes of channels that have left.
    sent: u64,
}

impl Scheduler {
    /// Adds a channel that has something to send and is in no queue.
    pub fn add(&mut self, key: Key, share: &mut Share) {
        // It rested while each of the others had a turn, so it counts as a new one.
        if self.turns >= share.rested_at {
            self.renew(share, STREAMS_FROM);
        }
        match share.left {
            0 => self.streaming.push_back(key),
            _ => self.quiet.push_back(key),
        }
    }

    /// Adds a channel that has only its end to send and is in no queue.
    pub fn add_end(&mut self, key: Key) {
        self.ends.push_back(key);
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.with_bytes() == 0
    }

    /// How many channels have bytes to send.
    pub fn with_bytes(&self) -> usize {
        self.quiet.len() + self.others()
    }

    /// Bytes of channels that have left.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn others(&self) -> usize {
        self.started.len() + self.streaming.len()
    }

    /// A channel is closed.
    pub fn sweep(&mut self, living: usize, lives: impl Fn(&Key) -> bool) {
        let streaming = &mut self.streaming;
        for queue in [
            &mut self.ends,
            &mut self.quiet,
            &mut self.started,
            streaming,
        ] {
            queues::sweep(queue, living, &lives);
        }
    }

    /// The next channel; it is in no queue after that.
    pub fn next(&mut self) -> Option<Key> {
        // An end is a few bytes, and frees a channel on the other side.
        if let Some(key) = self.ends.pop_front() {
            self.class = 0;
            return Some(key);
        }
        // Else a peer's many small requests would starve the transfers behind them.
        if self.ahead[0] < HEAD_START || self.others() == 0 {
            self.class = 0;
            if let Some(key) = self.quiet.pop_front() {
                return Some(key);
            }
        }
        if self.others() == 0 {
            return None;
        }
        self.ahead[0] = 0;
        self.turns += 1;
        if self.ahead[1] < HEAD_START || self.streaming.is_empty() {
            self.class = 1;
            if let Some(key) = self.started.pop_front() {
                return Some(key);
            }
        }
        self.ahead[1] = 0;
        self.class = 2;
        self.streaming.pop_front()
    }

    /// The quantum of a channel whose turn it is and that has none left.
    pub fn take_turn(&self, share: &mut Share) {
        if share.left == 0 {
            self.renew(share, QUANTUM);
        }
    }

    /// The channel whose turn it is has sent so much.
    pub fn spend(&mut self, share: &mut Share, bytes: usize) {
        self.sent += bytes as u64;
        share.left = share.left.saturating_sub(bytes as u32);
        if let Some(ahead) = self.ahead.get_mut(self.class) {
            *ahead = ahead.saturating_add(bytes as u32);
        }
    }

    /// Puts back a channel that still has bytes: it sent all that it might.
    pub fn requeue(&mut self, key: Key, share: &Share) {
        match share.left {
            0 => self.streaming.push_back(key),
            left if left == STREAMS_FROM - SPARSE => self.started.push_back(key),
            _ => self.started.push_front(key), // it goes on
        }
    }

    fn renew(&self, share: &mut Share, left: u32) {
        share.left = left;
        share.rested_at = self.turns + self.others() as u64;
    }
}
