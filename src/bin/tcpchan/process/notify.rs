//! What the service manager is told, where there is one (systemd's `sd_notify`).

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// The states of a process. Nothing happens where `NOTIFY_SOCKET` is not set.
pub struct Notify {
    watchdog: Option<Interval>,
}

impl Notify {
    pub fn new() -> Self {
        let every = |time: Duration| {
            let mut ticks = interval((time / 2).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        Notify {
            watchdog: system::watchdog().map(every),
        }
    }

    /// Started, or done with a reload. The status is for `systemctl status`.
    pub fn ready(&self, status: &str) {
        tell(system::ready(status));
    }

    pub fn reloading(&self) {
        tell(system::reloading());
    }

    pub fn stopping(&self) {
        tell(system::stopping());
    }

    /// Tells the watchdog that the process is alive, as long as a task on the runtime's threads
    /// runs. To be polled by who does the work of the process: it never ends.
    pub async fn alive(&mut self) {
        let Some(ticks) = &mut self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            ticks.tick().await;
            if tokio::spawn(async {}).await.is_ok() {
                tell(system::alive());
            }
        }
    }
}

fn tell(told: std::io::Result<()>) {
    if let Err(error) = told {
        warn!(%error, "the service manager can't be told");
    }
}

#[cfg(unix)]
mod system {
    use std::io;
    use std::time::Duration;

    use sd_notify::{NotifyState, notify, watchdog_enabled};

    pub fn watchdog() -> Option<Duration> {
        watchdog_enabled()
    }

    pub fn ready(status: &str) -> io::Result<()> {
        notify(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    pub fn reloading() -> io::Result<()> {
        let now = NotifyState::monotonic_usec_now()?;
        notify(&[NotifyState::Reloading, now])
    }

    pub fn stopping() -> io::Result<()> {
        notify(&[NotifyState::Stopping])
    }

    pub fn alive() -> io::Result<()> {
        notify(&[NotifyState::Watchdog])
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use std::time::Duration;

    pub fn watchdog() -> Option<Duration> {
        None
    }

    pub fn ready(_: &str) -> io::Result<()> {
        Ok(())
    }

    pub fn reloading() -> io::Result<()> {
        Ok(())
    }

    pub fn stopping() -> io::Result<()> {
        Ok(())
    }

    pub fn alive() -> io::Result<()> {
        Ok(())
    }
}
