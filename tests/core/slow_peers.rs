//! A peer that takes or sends a channel's bytes too slowly loses the channel, and others
//! do not. In virtual time.

use std::time::Duration;

use tcpchan::proto::{ChannelError, Config, ConnectionError, Key, Read, Role, TOO_SLOW};

use crate::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

/// 16 KiB a second: a window of 64 KiB in four seconds.
const RATE: u32 = 16 << 10;

/// A server with that rate, looked at each second.
fn pair() -> Pair {
    let config = Config::default().min_rate(RATE, SECOND).unwrap();
    let mut pair = Pair::new(Config::default().receive_budget(0), config);
    pair.run();
    pair
}

/// A channel on which the client has said something: its keys at both ends.
fn channel(pair: &mut Pair) -> (Key, Key) {
    let here = pair.client.open().unwrap();
    pair.client.write(here, b"?").unwrap();
    pair.run();
    let there = pair.server.accept().unwrap();
    assert_eq!(pair.server.read(there, &mut [0; 8]), Ok(Read::Bytes(1)));
    (here, there)
}

/// The server has as much to say as it may.
fn fill(pair: &mut Pair, there: Key) -> Result<(), ChannelError> {
    while pair.server.write(there, &[7; 1 << 14])? > 0 {
        pair.run();
    }
    Ok(())
}

/// The client reads so many bytes each second, for so long; whether the channel lives.
fn reads(pair: &mut Pair, (here, there): (Key, Key), bytes: usize, seconds: u32) -> bool {
    for _ in 0..seconds {
        if fill(pair, there).is_err() {
            return false;
        }
        let _ = pair.client.read(here, &mut vec![0; bytes]);
        pair.run();
        pair.wait(SECOND);
    }
    fill(pair, there).is_ok()
}

#[test]
fn a_reader_that_takes_too_little_of_what_waits_loses_the_channel() {
    let mut pair = pair();
    let (here, there) = channel(&mut pair);
    assert!(!reads(&mut pair, (here, there), RATE as usize / 8, 20));
    assert_eq!(
        pair.server.write(there, b"more"),
        Err(ChannelError::TooSlow)
    );
    assert_eq!(pair.server.stats().too_slow, 1);
    pair.run();
    let (_, end) = pair.read_all(Role::Client, here);
    assert_eq!(end, Err(ChannelError::Reset(TOO_SLOW)));
    let sent = pair.client.write(here, b"more");
    assert_eq!(sent, Err(ChannelError::Stopped(TOO_SLOW)));
    assert_eq!(pair.server.error(), None);
}

/// Though the application still has it, and the peer says nothing more.
#[test]
fn what_waited_for_a_slow_reader_holds_no_memory() {
    let mut pair = pair();
    let (_, there) = channel(&mut pair);
    let before = pair.server.memory();
    fill(&mut pair, there).unwrap();
    assert!(pair.server.memory() > before + (32 << 10));
    while pair.server.stats().too_slow == 0 {
        pair.now += SECOND;
        pair.server.handle_timeout(pair.now);
    }
    assert_eq!(pair.server.error(), None);
    assert!(pair.server.memory() <= before);
}

#[test]
fn a_reader_of_the_lowest_rate_keeps_the_channel() {
    let mut pair = pair();
    let both = channel(&mut pair);
    assert!(reads(&mut pair, both, RATE as usize * 5 / 4, 200));
}

#[test]
fn a_slow_reader_of_one_channel_costs_no_other() {
    let mut pair = pair();
    let (slow, fast) = (channel(&mut pair), channel(&mut pair));
    fill(&mut pair, slow.1).unwrap();
    assert!(reads(&mut pair, fast, RATE as usize * 2, 20));
    assert_eq!(pair.server.write(slow.1, b"?"), Err(ChannelError::TooSlow));
}

/// The application has finished and released it.
#[test]
fn what_a_slow_reader_leaves_of_a_released_channel_is_dropped() {
    let mut pair = pair();
    let (_, there) = channel(&mut pair);
    fill(&mut pair, there).unwrap();
    pair.server.finish(there).unwrap();
    pair.server.release(there);
    pair.wait(20 * SECOND);
    assert_eq!(pair.server.stats().too_slow, 1);
    assert_eq!(pair.client.error(), None);
}

#[test]
fn a_writer_that_sends_a_byte_now_and_then_loses_the_channel() {
    let mut pair = pair();
    let (here, there) = channel(&mut pair);
    for _ in 0..4 {
        let _ = pair.client.write(here, b"?");
        pair.run();
        let _ = pair.server.read(there, &mut [0; 8]);
        pair.wait(SECOND);
    }
    let read = pair.server.read(there, &mut [0; 8]);
    assert_eq!(read, Err(ChannelError::TooSlow));
    let sent = pair.client.write(here, b"?");
    assert_eq!(sent, Err(ChannelError::Stopped(TOO_SLOW)));
}

/// The application keeps it for as long as it likes.
#[test]
fn a_channel_that_a_slow_writer_has_lost_is_given_up_once() {
    let mut pair = pair();
    let (here, there) = channel(&mut pair);
    for _ in 0..4 {
        let _ = pair.client.write(here, b"?");
        pair.run();
        let _ = pair.server.read(there, &mut [0; 8]);
        pair.wait(SECOND);
    }
    pair.wait(20 * SECOND);
    assert_eq!(pair.server.stats().too_slow, 1);
}

/// In every other period, or more seldom.
#[test]
fn a_writer_that_pauses_between_its_bytes_loses_the_channel() {
    for pause in [2, 3, 10] {
        let mut pair = pair();
        let (here, there) = channel(&mut pair);
        for _ in 0..4 {
            let _ = pair.client.write(here, b"?");
            pair.run();
            let _ = pair.server.read(there, &mut [0; 8]);
            pair.wait(pause * SECOND);
        }
        let read = pair.server.read(there, &mut [0; 8]);
        assert_eq!(read, Err(ChannelError::TooSlow), "{pause}");
    }
}

/// The second half comes after a look.
#[test]
fn a_request_in_two_pieces_may_wait_for_its_answer() {
    let mut pair = pair();
    let (here, there) = channel(&mut pair);
    pair.wait(SECOND);
    for _ in 0..2 {
        pair.client.write(here, b"?").unwrap();
        pair.run();
        assert_eq!(pair.server.read(there, &mut [0; 8]), Ok(Read::Bytes(1)));
        pair.wait(SECOND);
    }
    pair.wait(60 * SECOND);
    pair.server.write(there, b"!").unwrap();
    assert_eq!(pair.server.stats().too_slow, 0);
}

#[test]
fn neither_an_idle_channel_nor_a_request_that_waits_is_cut_off() {
    let mut pair = pair();
    let (here, there) = channel(&mut pair);
    pair.wait(60 * SECOND);
    pair.server.write(there, b"!").unwrap();
    pair.run();
    pair.wait(60 * SECOND);
    pair.client.write(here, b"?").unwrap();
    pair.wait(60 * SECOND);
    assert_eq!(pair.server.read(there, &mut [0; 8]), Ok(Read::Bytes(1)));
}

#[test]
fn short_requests_that_are_answered_may_come_at_any_rate() {
    let mut pair = pair();
    let (here, there) = channel(&mut pair);
    for _ in 0..60 {
        pair.client.write(here, b"?").unwrap();
        pair.run();
        assert_eq!(pair.server.read(there, &mut [0; 8]), Ok(Read::Bytes(1)));
        pair.server.write(there, b"!").unwrap();
        pair.run();
        pair.wait(SECOND);
    }
}

/// The transport takes a byte now and then, so that it never stalls.
#[test]
fn a_connection_that_takes_too_little_ends() {
    let mut pair = pair();
    channel(&mut pair);
    for _ in 0..20 {
        pair.server.handle_progress(pair.now);
        pair.server.handle_blocked(pair.now);
        pair.now += SECOND / 2;
        pair.server.handle_timeout(pair.now);
    }
    let Some(ConnectionError::Violation { text, .. }) = pair.server.error() else {
        panic!("{:?}", pair.server.error());
    };
    assert!(text.contains("too slowly"), "{text}");
}

#[test]
fn nothing_is_judged_unless_a_rate_is_set() {
    let mut pair = Pair::new(Config::default().receive_budget(0), Config::default());
    pair.run();
    let both = channel(&mut pair);
    assert!(reads(&mut pair, both, 1, 100));
    assert_eq!(pair.server.stats().too_slow, 0);
}
