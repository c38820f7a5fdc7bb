//! Corners of the core that a review found wrong.

use std::time::{Duration, Instant};

use crate::raw::Raw;
use tcpchan::proto::{ChannelError, Config, Connection, ConnectionError, Event, Key, Read, Role};
use tcpchan::wire;
use tcpchan::wire::{Control, Decoded, Decoder, Frame, Protocol, Settings, Version};

fn encode(version: Version, control: Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::Control(control).encode(version, &mut bytes);
    bytes
}

/// transmit.rs:19: `start + budget` overflows: a panic in debug; in release it wraps, nothing
/// but the hello ever leaves.
#[test]
fn a_budget_without_limit_is_no_overflow() {
    let mut core = Raw::server().opened().core;
    let key = core.open().unwrap();
    core.write(key, b"x").unwrap();
    let mut out = vec![0];
    assert!(core.poll_transmit(&mut out, usize::MAX, Instant::now()) > 0);
}

/// Event.rs says of Closed that nothing follows.
#[test]
fn nothing_follows_closed() {
    let mut raw = Raw::client();
    raw.core.close("");
    let later = raw.now + Duration::from_secs(60);
    raw.core.handle_timeout(later);
    raw.core.handle_timeout(later + Duration::from_secs(60));
    raw.core.handle_progress(later);
    let events: Vec<Event> = std::iter::from_fn(|| raw.core.poll_event()).collect();
    assert_eq!(events, [Event::Closed]);
}

/// A peer that was given up takes bytes after all.
#[test]
fn nothing_follows_closed_when_a_dead_peer_is_heard() {
    let mut raw = Raw::client();
    while raw.core.error().is_none() {
        raw.now = raw.core.poll_timeout().unwrap();
        raw.core.handle_timeout(raw.now);
    }
    assert_eq!(raw.core.error(), Some(&ConnectionError::Dead));
    assert_eq!(events(&mut raw), [Event::Suspect, Event::Closed]);
    raw.core.handle_progress(raw.now);
    assert_eq!(events(&mut raw), []);
}

/// Settings of a peer whose credit is never used up.
fn endless() -> Settings {
    let mut settings = Settings::default();
    settings.initial_window = i32::MAX as u32;
    settings
}

fn events(raw: &mut Raw) -> Vec<Event> {
    std::iter::from_fn(|| raw.core.poll_event()).collect()
}

/// Else a peer could fill the memory of a driver that is slow to look.
#[test]
fn that_a_channel_waits_is_told_once_until_it_is_polled() {
    let mut raw = Raw::client();
    for nth in 0..100 {
        raw = raw.accepted(2 * nth + 1);
    }
    assert_eq!(events(&mut raw), [Event::Acceptable]);
    raw = raw.accepted(201);
    assert_eq!(events(&mut raw), [Event::Acceptable]);
}

#[test]
fn a_cut_behind_a_finish_is_no_reset() {
    let mut raw = Raw::server().opened();
    let key = raw.key();
    raw.core.write(key, b"x").unwrap();
    raw.core.finish(key).unwrap();
    raw.core.reset_after_flush(key, 7);
    assert_eq!(
        raw.hear(),
        [Control::Fin {
            channel: 1,
            debt: 0
        }]
    );
    assert_eq!(raw.core.stats().reset_by_self, 0);
}

#[test]
fn what_a_goaway_refuses_counts_as_refused() {
    let mut raw = Raw::server().opened().opened().opened();
    let reset = raw.core.open().unwrap();
    raw.core.reset(reset, 7);
    raw.hear();
    let waits = raw.core.open().unwrap(); // the peer never heard of it
    let (last, code, text) = (1, 0, "bye".to_owned());
    raw = raw.say(Control::GoAway { last, code, text });
    let told = raw.core.read(raw.key(), &mut [0; 9]);
    assert!(matches!(told, Err(ChannelError::Refused(_))), "{told:?}");
    assert_eq!(raw.core.stats().refused_by_peer, 2);
    assert_eq!(raw.core.stats().reset_by_self, 1);
    raw.core.release(waits);
}

/// A version byte 0 in the middle of a version 1 connection is a
/// violation; it ends without a GOAWAY and tells the user to change Config::protocol.
#[test]
fn another_version_in_the_middle_is_a_violation() {
    let mut raw = Raw::client().open(1).bytes(&[0, 3, 0, 0, 0, 3]);
    let error = raw.core.error().cloned();
    let said = raw.hear();
    assert!(
        matches!(error, Some(ConnectionError::Violation { .. })),
        "{error:?}"
    );
    assert!(
        matches!(said.last(), Some(Control::GoAway { .. })),
        "{said:?}"
    );
}

/// scheduler.rs: a channel that empties its buffer each time is "quiet" for
/// ever. Five that send their next 16 KiB when the last have left fill the connection, and one
/// that streams gets nothing at all (its fair share is a sixth).
#[test]
fn quiet_channels_do_not_starve_a_stream() {
    let mut raw = Raw::server_with(endless());
    let keys: Vec<Key> = (0..6).map(|_| raw.core.open().unwrap()).collect();
    raw.hear();
    let ids: Vec<u32> = keys.iter().map(|k| raw.core.id(*k).unwrap()).collect();
    let mut decoder = Decoder::new(Protocol::V1);
    let _ = decoder.decode(&mut &encode(Version::V1, Control::Drain)[..]);
    let mut sent = [0; 6];
    for round in 0..1000 {
        for (i, key) in keys[..5].iter().enumerate() {
            if round == 0 || sent[i] > 0 {
                raw.core.write(*key, &[1; 16 << 10]).unwrap();
            }
        }
        raw.core.write(keys[5], &[1; 64 << 10]).unwrap();
        if round == 1 {
            sent[5] = 0;
        }
        sent[..5].fill(0);
        let mut out = Vec::new();
        raw.core.poll_transmit(&mut out, 64 << 10, raw.now);
        let mut input = &out[..];
        while let Some(decoded) = decoder.decode(&mut input).unwrap() {
            if let Decoded::Data { channel, len } = decoded {
                sent[ids.iter().position(|id| *id == channel).unwrap()] += len;
            }
        }
    }
    assert!(sent[5] > 5 << 20, "{} of 64 MiB", sent[5]);
}

/// table: channels that the application finished and let go of stay, each with
/// its state and its part of the budget, until the peer ends them; a peer that never does, and
/// that allows many, is limited by nothing.
#[test]
fn a_peer_that_ends_nothing_is_limited() {
    let mut raw = Raw::server().say(Control::MaxChannels { count: 1 << 30 });
    for _ in 0..50_000 {
        let Ok(key) = raw.core.open() else { break };
        raw.core.write(key, b"request").unwrap();
        raw.core.finish(key).unwrap();
        raw.core.release(key);
        raw.hear();
    }
    let stats = raw.core.stats();
    assert!(
        stats.channels < 10_000,
        "{} channels that nobody holds, {} of the budget left",
        stats.channels,
        stats.budget_left
    );
}

fn version0(role: Role, protocol: Protocol) -> (Connection, Instant) {
    let now = Instant::now();
    let config = Config::default().protocol(protocol);
    (Connection::new(role, config, now), now)
}

/// A drain that was asked for before the hello is forgotten
/// when the peer turns out to speak version 0.
#[test]
fn a_drain_before_a_version_0_hello_is_done() {
    let (mut core, now) = version0(Role::Server, Protocol::Auto);
    core.drain();
    let magic = wire::DEFAULT_MAGIC;
    core.handle_input(&encode(Version::V0, Control::Hello { magic }), now);
    let mut out = Vec::new();
    while core.poll_transmit(&mut out, 64 << 10, now) > 0 {}
    core.handle_input(&encode(Version::V0, Control::Open { channel: 9 }), now);
    assert_eq!(
        (core.is_drained(), core.accept(), core.wants_transmit()),
        (true, None, true)
    );
}

/// A reset ends the receive half too, and nobody tells its reader.
#[test]
fn a_version_0_reset_tells_the_reader() {
    let (mut core, now) = version0(Role::Client, Protocol::V0);
    let magic = wire::DEFAULT_MAGIC;
    core.handle_input(&encode(Version::V0, Control::HelloReply { magic }), now);
    let key = core.open().unwrap();
    let mut buf = [0; 9];
    assert_eq!(core.read(key, &mut buf), Ok(Read::Blocked));
    core.reset(key, 0);
    assert!(core.read(key, &mut buf).is_err());
    let events: Vec<Event> = std::iter::from_fn(|| core.poll_event()).collect();
    assert!(events.contains(&Event::Readable(key)), "{events:?}");
}

/// A server may let go of many channels at once, of which its peer ends none
/// for a while.
#[test]
fn the_peers_own_channels_are_not_held_against_it() {
    let config = Config::default().max_channels(10_000).unwrap();
    let raw = Raw::client_of(config).times(10_000, |raw, nth| raw.accepted(2 * nth + 1));
    raw.released_unfinished().goes_on();
}

#[test]
fn a_reason_that_is_too_long_is_cut() {
    let mut raw = Raw::client();
    raw.core.close(&"ü€𝄞".repeat(1_000));
    let Some(Control::GoAway { text, .. }) = raw.hear().pop() else {
        panic!("no GOAWAY");
    };
    assert!(text.starts_with("ü€𝄞ü€𝄞") && text.len() <= 1016);
}

/// Else a peer could fill the memory of a driver that is slow to look.
#[test]
fn what_can_be_read_is_told_once_until_it_is_polled() {
    let mut raw = Raw::client().accepted(1);
    while raw.core.poll_event().is_some() {}
    for _ in 0..100 {
        raw = raw.data(1, 1);
        let key = raw.key();
        raw.core.read(key, &mut [0; 9]).unwrap();
    }
    let events: Vec<Event> = std::iter::from_fn(|| raw.core.poll_event()).collect();
    assert_eq!(events, [Event::Readable(raw.key())]);
}

#[test]
fn a_write_takes_what_the_send_buffer_has_room_for() {
    let mut raw = Raw::client().accepted(1);
    let key = raw.key();
    let bytes = [7; 100 << 10];
    assert_eq!(raw.core.write(key, &bytes), Ok(64 << 10));
    assert_eq!(raw.core.write(key, &bytes), Ok(0));
    raw.hear();
    assert_eq!(raw.core.write(key, &bytes), Ok(64 << 10));
    raw.hear(); // the peer's window is used up
    assert_eq!(raw.core.write(key, &bytes), Ok(0));
}

/// A busy machine looked at the time when the connection should long have been
/// suspect: it was dead at once, though the peer had not had its time.
#[test]
fn a_side_that_looks_late_gives_the_peer_the_rest_of_its_time() {
    let mut raw = Raw::client();
    let late = raw.now + Duration::from_secs(60);
    for _ in 0..3 {
        raw.core.handle_timeout(late);
    }
    assert!(raw.core.stats().suspect && raw.core.error().is_none());
    let dead = raw.core.poll_timeout().unwrap();
    assert_eq!(dead - late, Duration::from_secs(18));
    raw.core.handle_timeout(dead);
    assert_eq!(raw.core.error(), Some(&ConnectionError::Dead));
}

/// The clean end was read, and then reading was given up.
#[test]
fn a_reader_that_stops_behind_the_end_has_ended() {
    let (channel, debt) = (1, 0);
    let mut raw = Raw::client()
        .accepted(1)
        .say(Control::Fin { channel, debt });
    assert_eq!(raw.core.read(raw.key(), &mut [0]), Ok(Read::Finished));
    raw.core.stop(raw.key(), 7);
    let read = raw.core.read(raw.key(), &mut [0]);
    assert_eq!(read, Err(ChannelError::Ended));
}
