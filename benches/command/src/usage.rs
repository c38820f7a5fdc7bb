//! What processes use.

use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time, of all threads.
pub fn processor(ids: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for id in ids {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("a name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

/// Resident memory, in bytes.
pub fn memory(ids: &[u32]) -> Result<u64> {
    let mut kib = 0;
    for id in ids {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let value = line.context("VmRSS")?.split_whitespace().nth(1);
        kib += value.context("a number")?.parse::<u64>()?;
    }
    Ok(kib * 1024)
}
