//! How much a connection's task does before it yields to others.
//!
//! The peer chooses what its bytes cost: 64 KiB may be four frames or some thousand. So work
//! is counted in frames, and the next read is smaller if the last one was expensive.

use std::future::Future;
use std::pin::pin;
use std::task::Context;

use super::transport::READ;

/// The work of one budget, in frames: some tens of microseconds.
const BUDGET: usize = 1024;
const HALF_BUDGET: usize = BUDGET / 2;

/// Copying so many bytes costs as much as parsing one frame.
const BYTES: usize = 256;

/// Waking a task costs as much as parsing so many frames.
const WOKEN: usize = 4;

/// Bytes of the first read, and the fewest of any.
const FIRST_READ: usize = 2 * 1024;
const LEAST_READ: usize = 512;

pub(super) struct WorkBudget {
    /// Work since others had theirs.
    done: usize,
    /// Bytes to read at once.
    read_size: usize,
}

impl WorkBudget {
    pub fn new() -> Self {
        WorkBudget {
            done: 0,
            read_size: FIRST_READ,
        }
    }

    pub fn read_size(&self) -> usize {
        self.read_size
    }

    /// Notes what was read and what it came to.
    pub fn on_read(&mut self, bytes: usize, work: usize, woken: usize) {
        let work = bytes / BYTES + work + woken * WOKEN;
        self.done += work;
        let read_size = match work {
            ..HALF_BUDGET => self.read_size * 2,
            HALF_BUDGET..=BUDGET => self.read_size,
            _ => bytes * BUDGET / work,
        };
        self.read_size = read_size.clamp(LEAST_READ, READ);
    }

    /// There was nothing more to do.
    pub fn on_idle(&mut self) {
        self.done = 0;
    }

    /// Whether others should run now.
    pub fn is_over(&self) -> bool {
        self.done >= BUDGET
    }

    /// The same. If so the task is woken, behind those
    /// whose sockets are ready.
    pub fn is_spent(&mut self, cx: &mut Context<'_>) -> bool {
        let over = self.is_over();
        if over {
            self.done = 0;
            yields(cx);
        }
        over
    }
}

/// Wakes the task once all others have run and the runtime has looked for
/// sockets that are ready. A task that simply wakes itself keeps a thread of the
/// runtime from that for 61 polls.
pub(crate) fn yields(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}
