//! How a connection follows the memory budget: it leases what its core needs, and gives back
//! what it needs no more.

use std::time::Instant;

use super::transport::READ;
use crate::memory_budget::Lease;
use crate::proto;

/// Bytes that a connection has beyond what it holds, so that small writes and reads lease
/// nothing.
const SLACK: u64 = 12 << 10;

/// Bytes that may always be encoded at once.
const LEAST_OUTPUT: u64 = 4 << 10;

/// Tasks that may read at once, each on a thread: while the budget has room for the reads of so
/// many, a read leases nothing before it begins.
const READERS: u64 = 32;

/// Bytes of memory that so many received bytes may need.
fn needed_to_receive(bytes: usize) -> u64 {
    let times = match bytes < READ {
        true => 2,  // a buffer that grows may double
        false => 8, // a block counts for each channel that keeps a part of it
    };
    times * bytes as u64
}

/// What a connection has of the budget.
#[derive(Debug)]
pub(super) struct Memory {
    /// None if there was nothing left for it: then it has ended.
    lease: Option<Lease>,
    /// Bytes of memory of the output that the transport has not taken.
    output: usize,
}

impl Memory {
    pub fn new(lease: Option<Lease>) -> Self {
        Memory { lease, output: 0 }
    }

    /// Has as much of the budget as the connection needs to rest, or gives back the rest.
    pub fn fit(&mut self, core: &mut proto::Connection) {
        self.resize(core, SLACK);
    }

    /// A channel is about to take up to so many bytes to send.
    #[inline]
    pub fn need_to_send(&mut self, core: &mut proto::Connection, bytes: usize) {
        let most = core.send_buffer().min(bytes);
        // A buffer that grows may double.
        if core.memory_left_to_send() < 2 * most as u64 {
            self.resize(core, 2 * most as u64 + SLACK);
        }
    }

    /// The application is about to open a channel.
    pub fn need_to_open(&mut self, core: &mut proto::Connection) {
        if core.memory_left_to_send() < core.memory_to_open() {
            self.resize(core, core.memory_to_open() + SLACK);
        }
    }

    /// How many bytes may be read of the transport, of so many. Most reads bring few. So while the
    /// budget has room for [`READERS`], what a read brings is leased by
    /// [`need_to_receive`](Self::need_to_receive). Near its end a read leases before it begins.
    pub fn may_read(&mut self, core: &mut proto::Connection, bytes: usize, now: Instant) -> usize {
        let needed = needed_to_receive(bytes);
        let held = core.memory() + self.output as u64;
        let has_room = |lease: &Lease| {
            lease.bytes() >= held + SLACK && lease.could_have(held + READERS * needed)
        };
        if self.lease.as_ref().is_some_and(has_room) {
            core.handle_memory(now);
            return match core.has_room_to_receive() {
                true => bytes,
                false => 0,
            };
        }
        self.resize(core, needed + SLACK);
        match core.is_out_of_memory() {
            true => core.handle_no_memory(now),
            false => core.handle_memory(now),
        }
        let left = core.memory_left();
        match core.wants_input() {
            false => 0,
            true if left >= needed => bytes,
            true => bytes.min(left as usize / 2),
        }
    }

    /// The core is about to take so many bytes that were read.
    #[inline]
    pub fn need_to_receive(&mut self, core: &mut proto::Connection, bytes: usize) {
        let needed = needed_to_receive(bytes);
        if core.memory_left() < needed {
            self.resize(core, needed + SLACK);
        }
    }

    /// Whether nothing can be given back: the transport has taken all, nothing is leased, and
    /// enough is left.
    #[inline]
    pub fn is_at_rest(&self, core: &proto::Connection, output: usize) -> bool {
        output == 0 && self.output == 0 && self.has_only_reserve() && core.memory_left() >= SLACK
    }

    /// Has less of the budget if the connection needs less.
    #[inline]
    pub fn fit_less(&mut self, core: &mut proto::Connection) {
        if !self.has_only_reserve() {
            self.fit(core);
        }
    }

    fn has_only_reserve(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_reserve)
    }

    /// After input: channels that the peer opened are refused if there is no memory for them.
    /// Those that were refused take some until the peer knows, so with too many of them the
    /// connection ends.
    pub fn refuse(&mut self, core: &mut proto::Connection) {
        if core.memory_left_to_send() > 0 {
            return; // nearly always
        }
        self.resize(core, SLACK);
        let bytes = self.lease.as_ref().map_or(u64::MAX, Lease::bytes);
        core.refuse_beyond(bytes);
        if core.memory_of_channels() > bytes {
            core.out_of_memory();
        }
    }

    /// The transport's output has so much memory; whether there is enough for it.
    pub fn hold_output(&mut self, core: &mut proto::Connection, bytes: usize) -> bool {
        self.output = bytes;
        match core.is_short_of_memory() {
            true => self.resize(core, SLACK + core.memory_to_open()),
            false => self.resize(core, SLACK),
        }
        bytes == 0 || core.memory_left_to_send() > 0
    }

    /// Bytes that may be encoded for the transport, which may not take them.
    pub fn may_encode(&self, core: &proto::Connection) -> usize {
        core.memory_left_to_send().max(LEAST_OUTPUT) as usize
    }

    #[inline(never)]
    fn resize(&mut self, core: &mut proto::Connection, more: u64) {
        let Some(lease) = &mut self.lease else {
            return;
        };
        let output = self.output as u64;
        let needed = core.memory() + output + more;
        lease.resize(needed);
        if lease.bytes() < needed {
            core.free_memory();
        }
        core.limit_memory(lease.bytes().saturating_sub(output));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_budget::{MemoryBudget, RESERVE};

    fn connection(budget: &MemoryBudget) -> (Memory, proto::Connection) {
        let config = proto::Config::default();
        let mut core = proto::Connection::new(proto::Role::Client, config, Instant::now());
        let mut memory = Memory::new(budget.try_lease());
        memory.fit(&mut core);
        (memory, core)
    }

    #[test]
    fn a_read_leases_what_it_brings_not_what_it_might_bring() {
        let budget = MemoryBudget::new(64 << 20).unwrap();
        let (mut memory, mut core) = connection(&budget);
        assert_eq!(memory.may_read(&mut core, READ, Instant::now()), READ);
        memory.need_to_receive(&mut core, 100);
        assert_eq!(budget.used(), RESERVE);
        memory.need_to_receive(&mut core, READ);
        assert!(budget.used() > 8 * READ as u64, "{}", budget.used());
    }

    #[test]
    fn a_read_leases_before_it_begins_where_the_budget_comes_to_its_end() {
        let budget = MemoryBudget::new(16 << 20).unwrap();
        let (mut memory, mut core) = connection(&budget);
        assert_eq!(memory.may_read(&mut core, READ, Instant::now()), READ);
        assert!(budget.used() > 8 * READ as u64, "{}", budget.used());
    }

    #[test]
    fn a_read_is_smaller_where_what_it_might_bring_could_not_be_leased() {
        let budget = MemoryBudget::new(1 << 20).unwrap();
        let (mut memory, mut core) = connection(&budget);
        let _others: Vec<_> = std::iter::from_fn(|| budget.try_lease()).collect();
        let may = memory.may_read(&mut core, READ, Instant::now());
        assert!((1..READ).contains(&may), "{may}");
    }
}
