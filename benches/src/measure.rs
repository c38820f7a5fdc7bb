//! What is counted while the traffic of one row and one way runs, in a process
//! of its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

static OPERATIONS: AtomicU64 = AtomicU64::new(0);
static READY: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: OnceLock<fn() -> u64> = OnceLock::new();

pub fn count(operations: u64) {
    OPERATIONS.fetch_add(operations, Ordering::Relaxed);
}

/// The streams are open: the clock may start.
pub fn ready() {
    READY.store(true, Ordering::Release);
}

pub fn count_allocations_with(counter: fn() -> u64) {
    let _ = ALLOCATIONS.set(counter);
}

/// What one process measured of one row and one way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Operations (bytes in the bulk rows) a second.
    pub rate: f64,
    /// CPU time of both ends in microseconds, for each operation.
    pub cpu: f64,
    /// Allocations of both ends, for each operation.
    pub allocations: Option<f64>,
    /// Resident bytes for each idle stream, in the memory rows.
    pub bytes: Option<f64>,
    /// Cores that other programs used meanwhile.
    pub others: f64,
    /// Operations from start to end, for counts made from outside.
    pub total: u64,
    pub hung: bool,
}

struct Snapshot {
    at: Instant,
    cpu: Duration,
    machine: Duration,
    operations: u64,
    allocations: Option<u64>,
}

impl Snapshot {
    fn take() -> Snapshot {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Snapshot {
            at: Instant::now(),
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            machine: machine(),
            operations: OPERATIONS.load(Ordering::Relaxed),
            allocations: ALLOCATIONS.get().map(|counter| counter()),
        }
    }
}

/// CPU time of the whole machine since it started.
fn machine() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.split_whitespace().skip(1).take(8);
    let ticks = fields.enumerate().filter(|(i, _)| ![3, 4].contains(i)); // idle, waiting
    let ticks: u64 = ticks
        .filter_map(|(_, field)| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(10 * ticks)
}

/// Waits until the traffic runs, warms up and measures for `time`.
pub fn traffic(time: Duration) -> Measured {
    while !READY.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(time / 2);
    let start = Snapshot::take();
    thread::sleep(time / 2);
    let middle = Snapshot::take();
    thread::sleep(time / 2);
    let end = Snapshot::take();
    let operations = (end.operations - start.operations) as f64;
    let seconds = (end.at - start.at).as_secs_f64();
    let cpu = (end.cpu - start.cpu).as_secs_f64();
    let machine = (end.machine - start.machine).as_secs_f64();
    let hung = end.operations == middle.operations;
    if hung {
        return Measured {
            hung,
            total: end.operations,
            ..Measured::default()
        };
    }
    let allocations = end.allocations.zip(start.allocations);
    Measured {
        rate: operations / seconds,
        cpu: cpu * 1e6 / operations,
        allocations: allocations.map(|(end, start)| (end - start) as f64 / operations),
        bytes: None,
        others: ((machine - cpu) / seconds).max(0.0),
        total: end.operations,
        hung,
    }
}
