//! The end: by a signal, with time for what is carried.

use std::io;
use std::pin::pin;
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

/// Waits until what is carried has ended and `carries` is false, then for the
/// connections, which close once nobody holds `connections`. What is left at the
/// deadline, or at a further signal, is cut off; a connection whose peer is silent has
/// nothing left.
pub async fn finish<C>(
    mut carriers: JoinSet<()>,
    connections: C,
    carries: impl Fn(&C) -> bool,
    deadline: Instant,
    mut signals: Signals,
) -> Result<(), Failure> {
    let mut late = pin!(async {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {}
            () = signals.next() => {}
        }
    });
    let ended = async {
        while carriers.join_next().await.is_some() {}
        while carries(&connections) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = &mut late => {
            let left = carriers.len();
            carriers.shutdown().await;
            return Err(Failure::cut_off(format!("{left} still carried, cut off")));
        }
    }
    drop(connections);
    tokio::select! {
        () = tasks_ended() => {}
        () = late => {}
    }
    Ok(())
}

/// Waits for the tasks that nobody can join: those of the connections, which
/// send their last bytes.
pub async fn tasks_ended() {
    while Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}

/// How often to look where nothing tells. It is only looked while the command stops.
const LOOK: Duration = Duration::from_millis(2);
