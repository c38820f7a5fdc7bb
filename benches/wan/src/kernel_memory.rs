//! Whether the host has too many bytes in TCP's buffers.
//!
//! Beyond the second number of `net.ipv4.tcp_mem`, Linux cuts the receive window of every
//! socket to four packets. Another program of the host can bring that about. Then all
//! figures are those of that program.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const LOOKS: Duration = Duration::from_millis(100);

/// Looks until it is asked.
pub struct Watch(Arc<Seen>);

#[derive(Default)]
struct Seen {
    short: AtomicBool,
    over: AtomicBool,
}

impl Watch {
    pub fn new() -> Self {
        let seen: Arc<Seen> = Arc::default();
        let watch = Watch(seen.clone());
        thread::spawn(move || {
            while !seen.over.load(Relaxed) {
                seen.short.fetch_or(is_short(), Relaxed);
                thread::sleep(LOOKS);
            }
        });
        watch
    }

    /// Whether TCP was short of memory at any look.
    pub fn was_short(&self) -> bool {
        self.0.short.load(Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

fn is_short() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let used = pages(&read("/proc/self/net/sockstat"));
    let limits = read("/proc/sys/net/ipv4/tcp_mem");
    let pressure = limits
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok());
    used.zip(pressure)
        .is_some_and(|(used, most): (u64, u64)| used > most)
}

/// The pages in TCP's buffers, of `sockstat`. They are those of all namespaces.
fn pages(sockstat: &str) -> Option<u64> {
    let tcp = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = tcp.split_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_tcp_are_found() {
        let sockstat = "sockets: used 19\nTCP: inuse 1 orphan 0 tw 3 alloc 1 mem 258\n\
                        UDP: inuse 0 mem 7\n";
        assert_eq!(pages(sockstat), Some(258));
        assert_eq!(pages("UDP: inuse 0 mem 7\n"), None);
    }

    #[test]
    fn this_host_tells_them() {
        assert!(pages(&fs::read_to_string("/proc/self/net/sockstat").unwrap()).is_some());
    }
}
