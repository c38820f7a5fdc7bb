//! What only billions of channels reach.

use std::time::Instant;

use super::*;

impl Connection {
    /// As if each side had opened channels, and all were over, until so many numbers
    /// are left to it.
    pub(crate) fn skip_to_last(&mut self, left: u32) {
        for opener in [&mut self.local, &mut self.remote] {
            let skipped = (1 << 30) - left - opener.next / 2;
            opener.next += 2 * skipped;
            for count in [&mut opener.opened, &mut opener.limit, &mut opener.told] {
                *count += skipped;
            }
        }
    }
}

fn exchange(sides: &mut [Connection; 2], now: Instant) {
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        let mut bytes = Vec::new();
        while sides[from].poll_transmit(&mut bytes, usize::MAX, now) > 0 {}
        sides[to].handle_input(&bytes, now);
    }
}

/// The last number of each side is used, and none after it. Neither says anything that
/// the other takes for a violation.
#[test]
fn the_last_number_opens_a_channel_and_then_the_connection_takes_no_more() {
    let now = Instant::now();
    let mut sides =
        [Role::Client, Role::Server].map(|role| Connection::new(role, Config::default(), now));
    exchange(&mut sides, now);
    for side in &mut sides {
        side.skip_to_last(2);
    }
    for (opener, last) in [(0, i32::MAX as u32), (1, i32::MAX as u32 - 1)] {
        for (left, id) in [(2, last - 2), (1, last)] {
            assert_eq!(sides[opener].stats().room, left);
            assert!(sides[opener].is_open());
            let near = sides[opener].open().unwrap();
            assert_eq!(sides[opener].id(near), Some(id));
            sides[opener].write(near, b"?").unwrap();
            sides[opener].finish(near).unwrap();
            exchange(&mut sides, now);
            let far = sides[1 - opener].accept().unwrap();
            let (mut byte, far_side) = ([0], &mut sides[1 - opener]);
            assert_eq!(far_side.read(far, &mut byte), Ok(Read::Bytes(1)));
            far_side.finish(far).unwrap();
            far_side.release(far);
            exchange(&mut sides, now);
            sides[opener].release(near);
        }
        let events: Vec<_> = std::iter::from_fn(|| sides[opener].poll_event()).collect();
        assert!(events.contains(&Event::Openable), "who waits for room");
        assert_eq!(sides[opener].stats().room, 0);
        assert!(!sides[opener].is_open());
        assert_eq!(sides[opener].open(), Err(OpenError::Draining));
    }
    exchange(&mut sides, now);
    assert!(sides.iter().all(|side| side.error().is_none()));
    assert!(sides.iter().all(|side| side.channels() == 0));
}
