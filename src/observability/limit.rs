//! How many lines a failing state may give.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Kinds that are remembered: a bound of the memory, since a host's name is part of some.
/// Those beyond it are not logged at their level.
const KINDS: usize = 1024;

#[derive(Debug)]
pub(super) struct Limit<K> {
    /// Lines of one kind in each minute.
    most: u32,
    kinds: Mutex<Option<HashMap<K, Minute>>>,
}

#[derive(Debug)]
struct Minute {
    since: Instant,
    count: u32,
}

impl<K: Eq + Hash> Limit<K> {
    pub const fn new(most: u32) -> Self {
        let kinds = Mutex::new(None);
        Limit { most, kinds }
    }

    /// Whether one more line of this kind may be logged. With the first of a minute goes
    /// how many were suppressed in the one before.
    pub fn allows(&self, kind: K, now: Instant) -> Option<u32> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.get_or_insert_default();
        if kinds.len() >= KINDS {
            kinds.retain(|_, minute| now < minute.since + MINUTE);
        }
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            return None;
        }
        let first = Minute {
            since: now,
            count: 0,
        };
        let minute = kinds.entry(kind).or_insert(first);
        let mut suppressed = 0;
        if now >= minute.since + MINUTE {
            suppressed = minute.count.saturating_sub(self.most);
            (minute.since, minute.count) = (now, 0);
        }
        minute.count = minute.count.saturating_add(1);
        (minute.count <= self.most).then_some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_five_lines_a_minute_and_then_says_how_many_were_suppressed() {
        let (limit, start) = (Limit::new(5), Instant::now());
        let lines = (0..60).filter_map(|second| {
            let now = start + Duration::from_secs(second);
            limit.allows("failed", now)
        });
        assert_eq!(lines.collect::<Vec<_>>(), [0; 5]);
        assert_eq!(limit.allows("another", start + MINUTE / 2), Some(0));
        assert_eq!(limit.allows("failed", start + MINUTE), Some(55));
        assert_eq!(limit.allows("failed", start + MINUTE), Some(0));
    }

    #[test]
    fn kinds_that_are_over_are_forgotten_and_no_others() {
        let (limit, start) = (Limit::new(5), Instant::now());
        for kind in 0..KINDS {
            assert_eq!(limit.allows(kind, start), Some(0));
        }
        assert_eq!(limit.allows(KINDS, start), None);
        assert_eq!(limit.allows(0, start), Some(0));
        assert_eq!(limit.allows(KINDS, start + MINUTE), Some(0));
    }
}
