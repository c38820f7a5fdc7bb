//! Many readers are woken in parts, so that the peer works on the answers of one while this side
//! works on the next.

use std::task::Waker;

/// More who read than this are woken in parts, of which none is smaller than this: in four, or
/// in two where a part of four would be larger than [`LARGE_PART`].
pub const PART: usize = 16;
const LARGE_PART: usize = 4 * PART;

/// Those of many who are woken when the task runs next.
#[derive(Debug, Default)]
pub struct Parts {
    rest: Vec<Waker>,
    /// How many of those are woken at once.
    part: usize,
}

impl Parts {
    /// Takes all but the first part.
    pub fn keep(&mut self, wakers: &mut Vec<Waker>) {
        self.part = part_of(self.rest.len() + wakers.len());
        let first = self.part.min(wakers.len());
        self.rest.extend(wakers.drain(first..));
    }

    /// Gives the next part; whether there is one.
    pub fn give_part(&mut self, wakers: &mut Vec<Waker>) -> bool {
        if self.rest.is_empty() {
            return false; // nearly always
        }
        wakers.extend(self.rest.drain(..self.part.min(self.rest.len())));
        true
    }

    /// Gives all.
    pub fn give_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.append(&mut self.rest);
    }
}

fn part_of(all: usize) -> usize {
    let quarter = all.div_ceil(4);
    match quarter <= LARGE_PART {
        true => PART.max(quarter),
        false => all.div_ceil(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are woken in turn.
    fn parts(count: usize) -> Vec<usize> {
        let (mut parts, mut wakers) = (Parts::default(), vec![Waker::noop().clone(); count]);
        parts.keep(&mut wakers);
        let mut woken = vec![wakers.len()];
        wakers.clear();
        while parts.give_part(&mut wakers) {
            woken.push(wakers.len());
            wakers.clear();
        }
        woken
    }

    #[test]
    fn up_to_256_are_woken_in_quarters_of_16_at_least_and_more_in_halves() {
        assert_eq!(parts(17), [16, 1]);
        assert_eq!(parts(64), [16; 4]);
        assert_eq!(parts(200), [50; 4]);
        assert_eq!(parts(256), [64; 4]);
        assert_eq!(parts(257), [129, 128]);
        assert_eq!(parts(1000), [500; 2]);
    }

    #[test]
    fn an_end_wakes_all_that_are_left() {
        let (mut parts, mut wakers) = (Parts::default(), vec![Waker::noop().clone(); 64]);
        parts.keep(&mut wakers);
        parts.give_all(&mut wakers);
        assert_eq!(wakers.len(), 64);
        assert!(!parts.give_part(&mut wakers));
    }
}
