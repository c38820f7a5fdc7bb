//! The end: by a signal, with time for what is carried.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failure::Failure;

/// SIGTERM and SIGINT; where there are no such signals, Ctrl-C.
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub fn new() -> io::Result<Self> {
        Ok(Signals {})
    }

    #[cfg(not(unix))]
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Waits until what is carried has ended, then for the connections, which
/// close once nobody holds `connections`. What is left at the deadline, or at
/// a further signal, is cut off.
pub async fn finish(
    mut carriers: JoinSet<()>,
    connections: impl Sized,
    deadline: Instant,
    mut signals: Signals,
) -> Result<(), Failure> {
    let ended = async {
        while carriers.join_next().await.is_some() {}
        drop(connections);
        tasks_ended().await;
    };
    tokio::select! {
        () = ended => return Ok(()),
        () = tokio::time::sleep_until(deadline) => {}
        () = signals.next() => {}
    }
    let left = carriers.len();
    carriers.shutdown().await;
    Err(Failure::cut_off(format!("{left} still carried, cut off")))
}

/// Waits for the tasks that nobody can join: those of the connections, which
/// send their last bytes.
pub async fn tasks_ended() {
    while Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
