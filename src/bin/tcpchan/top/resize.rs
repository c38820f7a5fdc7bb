//! Another size of the terminal.

use std::io;

pub struct Resize {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Resize {
    #[cfg(unix)]
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Resize {
            signal: signal(SignalKind::window_change())?,
        })
    }

    #[cfg(unix)]
    pub async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending().await
        }
    }

    #[cfg(not(unix))]
    pub fn new() -> io::Result<Self> {
        Ok(Resize {})
    }

    #[cfg(not(unix))]
    pub async fn next(&mut self) {
        std::future::pending().await
    }
}
