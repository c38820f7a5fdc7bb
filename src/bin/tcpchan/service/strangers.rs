//! Those who have come and have yet to say who they are.

use std::collections::VecDeque;

use tokio::task::{AbortHandle, JoinSet};

/// Strangers at a time. Beyond them, the one who has waited longest makes room for the next: so
/// who says nothing keeps nobody out.
const MOST: usize = 1024;

/// A task for each, which gives what is known then.
pub struct Strangers<T> {
    tasks: JoinSet<T>,
    /// As they came. Some have ended.
    order: VecDeque<AbortHandle>,
}

impl<T: Send + 'static> Strangers<T> {
    pub fn new() -> Self {
        Strangers {
            tasks: JoinSet::new(),
            order: VecDeque::new(),
        }
    }

    pub fn add(&mut self, greets: impl Future<Output = T> + Send + 'static) {
        if self.order.len() >= MOST {
            self.order.retain(|one| !one.is_finished());
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(greets));
    }

    /// What is known of the next; never ready without one. Cancel safe.
    pub async fn next(&mut self) -> T {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(known)) => return known,
                Some(Err(_)) => {} // it made room
                None => std::future::pending().await,
            }
        }
    }
}
