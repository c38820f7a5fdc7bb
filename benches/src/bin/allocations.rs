//! The same program with the system's allocator, which counts, in a binary of its
//! own so that the counting slows down no other measurement.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

fn main() -> anyhow::Result<()> {
    tcpchan_bench::main(Some(allocations))
}
