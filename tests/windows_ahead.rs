//! An upload is not held up by the initial window: the receiver grants larger
//! windows to channels that are not opened yet (W10).

#[path = "support/pair.rs"]
mod pair;
#[path = "support/raw.rs"]
mod raw;

use std::time::Duration;

use pair::Pair;
use raw::{FLOW_CONTROL, LIMIT, Raw};
use tcpchan::Config;
use tcpchan::proto::{Connection, Key, Role};
use tcpchan::wire::Control;

const INITIAL: usize = 64 << 10;
const MIB: usize = 1 << 20;

/// Writes as an application does that always has more, until nothing goes.
fn write_until_blocked(pair: &mut Pair, key: Key) -> usize {
    let mut written = 0;
    loop {
        let n = pair.client.write(key, &[7; 16 << 10]).unwrap();
        written += n;
        if n == 0 {
            return written;
        }
        pair.client
            .poll_transmit(&mut Vec::new(), usize::MAX, pair.now);
    }
}

/// The limit of the AHEAD that the core says, and its last number.
fn ahead(raw: &mut Raw) -> Option<(u32, usize)> {
    raw.hear().into_iter().find_map(|control| match control {
        Control::Ahead { channel, limit } => Some((channel, limit as usize)),
        _ => None,
    })
}

fn buffered(core: &Connection) -> usize {
    core.stats().buffered as usize
}

#[test]
fn an_upload_on_a_later_channel_leaves_whole_without_a_window_update() {
    let mut pair = Pair::up();
    pair.client.open().unwrap();
    pair.run();
    let upload = pair.client.open().unwrap();
    assert!(write_until_blocked(&mut pair, upload) > MIB);
}

#[test]
fn an_upload_on_the_first_channel_gets_a_large_window_by_the_first_update() {
    let mut pair = Pair::up();
    let upload = pair.client.open().unwrap();
    pair.client.write(upload, &[7; INITIAL]).unwrap();
    pair.run();
    assert_eq!(pair.read_all(Role::Server, upload).0.len(), INITIAL);
    pair.run();
    assert!(write_until_blocked(&mut pair, upload) > MIB);
}

#[test]
fn what_is_sent_up_to_the_limit_that_was_told_ahead_is_taken_and_a_byte_more_is_not() {
    let mut raw = Raw::client().open(1);
    let (last, limit) = ahead(&mut raw).unwrap();
    assert!(last >= 3);
    let raw = raw.open(3).data(3, limit).goes_on();
    assert_eq!(buffered(&raw.core), limit);
    raw.data(3, 1).ends(FLOW_CONTROL, "beyond the window");
}

#[test]
fn what_was_told_ahead_still_holds_once_the_application_lets_go() {
    let mut raw = Raw::client().open(1);
    let (_, limit) = ahead(&mut raw).unwrap();
    let mut raw = raw.accepted(3);
    raw.core.stop(raw.key(), 0);
    raw.core.reset(raw.key(), 0);
    raw.core.release(raw.key());
    let raw = raw.data(3, limit).goes_on();
    raw.data(3, 1).ends(FLOW_CONTROL, "beyond the window");
}

#[test]
fn a_peer_that_ignores_what_it_was_told_ahead_gets_a_window_before_it_is_short() {
    let mut raw = Raw::client().open(1);
    ahead(&mut raw).unwrap();
    let mut raw = raw.open(3).data(3, INITIAL / 2);
    raw.core.accept().unwrap();
    let key = raw.core.accept().unwrap();
    let now = raw.now;
    raw.core.read(key, &mut [0; INITIAL], now).unwrap();
    let told = |control: &Control| matches!(control, Control::Window { channel: 3, limit } if *limit > INITIAL as u64);
    assert!(raw.hear().iter().any(told));
}

#[test]
fn channels_that_are_told_more_get_no_less_before_they_are_used_up() {
    let mut raw = Raw::client().open(1);
    let first = ahead(&mut raw).unwrap();
    let mut tellings = 0;
    for channel in (3..=first.0).step_by(2) {
        raw = raw.open(channel);
        if let Some((last, limit)) = ahead(&mut raw) {
            assert!(last > first.0 && limit >= first.1);
            tellings += 1;
        }
    }
    assert!(tellings > 0);
}

#[test]
fn a_side_whose_peer_opens_no_channels_sets_nothing_aside() {
    let mut raw = Raw::server().opened();
    assert_eq!(ahead(&mut raw), None);
}

#[test]
fn without_a_budget_nothing_is_told_ahead() {
    let mut raw = Raw::client_of(Config::default().receive_budget(0)).open(1);
    assert_eq!(ahead(&mut raw), None);
    let raw = raw.open(3).data(3, INITIAL).goes_on();
    raw.data(3, 1).ends(FLOW_CONTROL, "beyond the window");
}

#[test]
fn channels_that_use_all_they_were_told_fit_the_budget() {
    let (budget, count) = (4 * MIB, 100);
    let mut raw = Raw::client_of(Config::default().receive_budget(budget as u64)).open(1);
    let (mut last, mut limit) = ahead(&mut raw).unwrap();
    for nth in 1..count {
        let channel = 1 + 2 * nth as u32;
        let window = if channel <= last { limit } else { INITIAL };
        raw = raw.open(channel).data(channel, window);
        (last, limit) = ahead(&mut raw).unwrap_or((last, limit));
    }
    let raw = raw.goes_on();
    assert!(buffered(&raw.core) <= count * INITIAL + budget);
}

#[test]
fn a_lower_limit_than_the_initial_window_takes_nothing_away() {
    let (channel, limit) = (99, 1);
    let mut raw = Raw::server().say(Control::Ahead { channel, limit });
    let key = raw.core.open().unwrap();
    assert_eq!(raw.core.write(key, &[7; INITIAL]), Ok(INITIAL));
    let mut out = Vec::new();
    raw.core.poll_transmit(&mut out, usize::MAX, raw.now);
    assert!(out.len() > INITIAL);
}

#[test]
fn limits_told_ahead_again_and_again_are_a_flood() {
    let rate = 10_000;
    let (channel, limit) = (99, 1 << 20);
    let raw = Raw::server().times(rate + 1, |raw, _| {
        raw.say(Control::Ahead { channel, limit })
    });
    raw.say(Control::Ahead { channel, limit })
        .ends(LIMIT, "change nothing");
}

#[test]
fn a_limit_told_ahead_for_each_channel_is_honest() {
    let mut raw = Raw::server();
    for nth in 0..200 {
        let (channel, limit) = (1001 + 2 * nth, 1 << 20);
        raw = raw.opened().say(Control::Ahead { channel, limit });
    }
    raw.wait(Duration::ZERO).goes_on();
}
