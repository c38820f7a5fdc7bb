//! A map that forgets what was not used for longest, in memory that has a bound.

use std::collections::HashMap;
use std::hash::Hash;

/// Two halves. When the newer one is full, the older one is forgotten.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V: Default> Recent<K, V> {
    /// Remembers the last `half` keys that were used, and at most twice as many.
    pub fn new(half: usize) -> Self {
        Recent {
            newer: HashMap::new(),
            older: HashMap::new(),
            half,
        }
    }

    /// The value of a key, which is the default one if nothing is known of it.
    pub fn get(&mut self, key: K) -> &mut V {
        if !self.newer.contains_key(&key) && self.newer.len() >= self.half {
            self.older = std::mem::take(&mut self.newer);
        }
        let known = self.older.remove(&key);
        self.newer
            .entry(key)
            .or_insert_with(|| known.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_last_keys_and_never_more_than_twice_as_many() {
        let mut recent = Recent::<u32, u32>::new(100);
        for key in 0..100_000 {
            *recent.get(key) = key;
            assert!(recent.newer.len() + recent.older.len() <= 200);
            assert_eq!(*recent.get(key.saturating_sub(40)), key.saturating_sub(40));
        }
    }

    #[test]
    fn a_key_that_is_used_is_not_forgotten() {
        let mut recent = Recent::<u32, u32>::new(10);
        *recent.get(0) = 7;
        for key in 1..1_000 {
            recent.get(key);
            assert_eq!(*recent.get(0), 7);
        }
    }
}
