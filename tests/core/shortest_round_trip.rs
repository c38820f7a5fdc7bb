//! The shortest round trip is that of the way as it is now.

use std::time::Duration;

use crate::raw::Raw;
use tcpchan::wire::Control;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A peer that answers so many pings, one after the other, each after this time. The
/// core asks again at once, or after a second.
fn answers(mut raw: Raw, rtt: Duration, pings: u32, at_once: bool) -> Raw {
    for _ in 0..pings {
        match at_once {
            true => raw.core.probe(raw.now),
            false => {
                raw.now += SECOND;
                raw.core.write(raw.key(), b"x").unwrap();
            }
        }
        let mut heard = raw.hear();
        raw.core.handle_timeout(raw.now);
        heard.extend(raw.hear());
        let tokens = heard.into_iter().filter_map(|control| match control {
            Control::Ping { token } => Some(token),
            _ => None,
        });
        raw.now += rtt;
        for token in tokens {
            raw = raw.say(Control::Pong { token });
        }
    }
    raw
}

fn start(rtt: Duration) -> Raw {
    let mut raw = Raw::server();
    raw.now += rtt;
    let raw = raw.say(Control::Pong { token: 1 }).opened();
    assert_eq!(raw.core.min_rtt(), Some(rtt));
    raw
}

#[test]
fn a_shorter_way_is_known_at_once() {
    let raw = answers(start(200 * MS), 20 * MS, 1, true);
    assert_eq!(raw.core.min_rtt(), Some(20 * MS));
}

#[test]
fn a_longer_way_is_known_within_two_minutes() {
    let raw = answers(start(20 * MS), 25 * MS, 30, false);
    assert_eq!(raw.core.min_rtt(), Some(25 * MS));
}

/// As while a transfer goes on, which asks in each round trip.
#[test]
fn a_much_longer_way_is_known_after_some_round_trips() {
    let raw = answers(start(20 * MS), 200 * MS, 40, true);
    assert_eq!(raw.core.min_rtt(), Some(200 * MS));
}

#[test]
fn a_queue_is_no_longer_way_for_ten_seconds() {
    let raw = answers(start(80 * MS), 110 * MS, 60, true);
    assert_eq!(raw.core.min_rtt(), Some(80 * MS));
}
