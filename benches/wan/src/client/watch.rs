//! How many TCP connections this process's namespace has to a server.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::pause::every;

const LOOKS: Duration = Duration::from_millis(100);

/// As /proc/net/tcp has it.
const ESTABLISHED: &str = "01";

/// Counts them until it is dropped.
pub struct Watch {
    counts: Arc<Mutex<Counts>>,
    task: JoinHandle<()>,
}

/// How many connections there were in a stage at most, and at its end.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Counts {
    pub most: usize,
    pub last: usize,
}

impl Watch {
    /// Of the server that listens there.
    pub fn new(port: u16) -> Self {
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let seen = counts.clone();
        let task = tokio::spawn(async move {
            let mut tick = every(LOOKS.as_millis() as u64);
            loop {
                tick.tick().await;
                let last = fs::read_to_string("/proc/self/net/tcp")
                    .map_or(0, |table| established(&table, port));
                let mut counts = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let most = counts.most.max(last);
                *counts = Counts { most, last };
            }
        });
        Watch { counts, task }
    }

    /// What there was since it was last asked.
    pub fn take(&self) -> Counts {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let last = counts.last;
        std::mem::replace(&mut *counts, Counts { most: last, last })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The lines of a table of sockets that are connections to this port.
fn established(table: &str, port: u16) -> usize {
    let to = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&to))
            && fields.next() == Some(ESTABLISHED)
    };
    table.lines().filter(is_one).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_the_port_are_counted_and_nothing_else() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 0200580A:9C40 0100580A:1B58 01 00000000:00000000\n   \
            1: 0200580A:9C42 0100580A:1B58 06 00000000:00000000\n   \
            2: 0200580A:1B58 0100580A:9C44 01 00000000:00000000\n   \
            3: 0200580A:9C46 0100580A:1B59 01 00000000:00000000\n";
        assert_eq!(established(table, 7000), 1);
        assert_eq!(established(table, 7001), 1);
        assert_eq!(established(table, 7002), 0);
    }
}
