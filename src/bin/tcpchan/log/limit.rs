//! How many lines of one kind a service has in the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Lines in a minute, as many as of the library's.
const MOST: u32 = 20;

/// Since when a minute lasts, and how many lines there were in it.
#[derive(Default)]
pub struct Limit(Mutex<Option<(Instant, u32)>>);

impl Limit {
    /// Whether one more may be a warning. Tells how many of the minute before were not.
    pub fn allows(&self, now: Instant) -> Option<u32> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = minute.unwrap_or((now, 0));
        let is_over = now >= since + MINUTE;
        let suppressed = if is_over {
            count.saturating_sub(MOST)
        } else {
            0
        };
        let (since, count) = if is_over { (now, 0) } else { (since, count) };
        let count = count.saturating_add(1);
        *minute = Some((since, count));
        (count <= MOST).then_some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_has_20_lines_and_the_next_tells_how_many_there_were_more() {
        let (limit, now) = (Limit::default(), Instant::now());
        let allowed = (0..50).filter(|_| limit.allows(now) == Some(0)).count();
        assert_eq!(allowed, 20);
        assert_eq!(limit.allows(now + MINUTE), Some(30));
        assert_eq!(limit.allows(now + MINUTE), Some(0));
    }
}
