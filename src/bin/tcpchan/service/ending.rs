//! When what is carried must have ended.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Tells all that carry something to end, and by when.
#[derive(Debug)]
pub struct Ending {
    deadline: watch::Sender<Option<Instant>>,
    open: watch::Sender<()>,
}

/// Who is told.
#[derive(Clone, Debug)]
pub struct Ended(watch::Receiver<Option<Instant>>);

/// Whoever takes new work holds it.
#[derive(Debug)]
pub struct Open {
    _open: watch::Receiver<()>,
}

/// As good as no deadline.
pub const YEAR: Duration = Duration::from_secs(86_400 * 365);

impl Ending {
    pub fn new() -> Self {
        Ending {
            deadline: watch::channel(None).0,
            open: watch::channel(()).0,
        }
    }

    pub fn told(&self) -> Ended {
        Ended(self.deadline.subscribe())
    }

    pub fn open(&self) -> Open {
        Open {
            _open: self.open.subscribe(),
        }
    }

    /// Waits until nobody takes new work.
    pub async fn closed(&self) {
        self.open.closed().await;
    }

    /// Whether nobody is left to be told.
    pub fn is_over(&self) -> bool {
        self.deadline.is_closed()
    }

    /// No new work, and what is there may take as long as it needs.
    pub fn retire(&self) {
        self.within(YEAR);
    }

    /// As [`by`](Self::by), from now on.
    pub fn within(&self, time: Duration) {
        self.by(Instant::now() + time.min(YEAR));
    }

    /// No new work; what is left then is cut off. A second call can only make it sooner.
    pub fn by(&self, deadline: Instant) {
        self.deadline.send_if_modified(|asked| {
            let sooner = asked.is_none_or(|asked| deadline < asked);
            if sooner {
                *asked = Some(deadline);
            }
            sooner
        });
    }
}

impl Ended {
    /// Waits until there is to be no new work, and gives the deadline of that moment.
    pub async fn asked(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await.map(|asked| *asked) {
            Ok(Some(deadline)) => deadline,
            // Who could ask is gone.
            _ => std::future::pending().await,
        }
    }

    /// Waits for a deadline that is sooner than the one before.
    pub async fn sooner(&mut self) -> Instant {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
        self.asked().await
    }

    /// Waits until the deadline, wherever it moves to.
    pub async fn deadline(mut self) {
        let mut deadline = self.asked().await;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                sooner = self.sooner() => deadline = sooner,
            }
        }
    }
}
