//! Two cores joined by memory, on a clock that the test moves.

use std::time::Duration;

use crate::pair::Pair;
use tcpchan::proto::{
    ChannelError, Config, Connection, ConnectionError, ErrorCode, Event, Key, OpenError, REFUSED,
    Read, Role,
};

/// What a channel may send before any of it was read: its window, and 2 MiB of the
/// budget.
const FIRST_FLIGHT: usize = (64 << 10) + (2 << 20);

#[test]
fn an_open_and_its_first_bytes_leave_in_the_first_flight() {
    let mut pair = Pair::new(Config::default(), Config::default());
    let id = pair.client.open().unwrap();
    pair.client.write(id, b"hello").unwrap();
    let mut flight = Vec::new();
    pair.client.poll_transmit(&mut flight, 64 << 10, pair.now);
    pair.server.handle_input(&flight, pair.now);
    assert_eq!(pair.server.accept(), Some(id));
    assert_eq!(pair.read_all(Role::Server, id).0, b"hello");
}

#[test]
fn a_megabyte_arrives_whole_in_pieces_of_any_size() {
    for piece in [1, 7, 1000, usize::MAX] {
        let mut pair = Pair::up().split(piece);
        let data: Vec<u8> = (0..1u32 << 20)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        let id = pair.client.open().unwrap();
        let (mut sent, mut got) = (0, Vec::new());
        while got.len() < data.len() {
            sent += pair.client.write(id, &data[sent..]).unwrap();
            pair.run();
            got.extend(pair.read_all(Role::Server, id).0);
        }
        pair.client.finish(id).unwrap();
        pair.run();
        assert_eq!(pair.server.read(id, &mut [0]), Ok(Read::Finished));
        assert!(got == data, "pieces of {piece}");
    }
}

#[test]
fn a_reader_that_stops_reading_holds_up_no_other_channel() {
    let mut pair = Pair::up();
    let (stuck, free) = (pair.client.open().unwrap(), pair.client.open().unwrap());
    while pair.client.write(stuck, &[0; 1000]).unwrap() > 0 {
        pair.run();
    }
    pair.client.write(free, b"through").unwrap();
    pair.run();
    assert_eq!(pair.read_all(Role::Server, free).0, b"through");
    let left = FIRST_FLIGHT - pair.read_all(Role::Server, stuck).0.len();
    assert!(left < 1000, "a part of a piece is not borrowed for");
}

#[test]
fn each_half_ends_on_its_own() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.client.finish(id).unwrap();
    pair.run();
    assert_eq!(pair.server.read(id, &mut [0]), Ok(Read::Finished));
    pair.server.write(id, b"still").unwrap();
    pair.run();
    assert_eq!(pair.read_all(Role::Client, id).0, b"still");
}

#[test]
fn a_released_channel_is_an_error_at_its_reader_and_is_forgotten() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.client.write(id, b"part").unwrap();
    pair.run();
    pair.client.release(id);
    pair.run();
    let end = pair.read_all(Role::Server, id).1;
    assert_eq!(end, Err(ChannelError::Reset(0)));
    pair.server.release(id);
    pair.run();
    assert_eq!((pair.client.channels(), pair.server.channels()), (0, 0));
}

#[test]
fn a_channel_that_is_cut_ends_with_its_code_behind_the_bytes() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.run();
    assert_eq!(pair.server.accept(), Some(id));
    pair.client.write(id, b"part").unwrap();
    pair.client.reset_after_flush(id, 9);
    pair.run();
    let (bytes, end) = pair.read_all(Role::Server, id);
    assert_eq!(
        (&bytes[..], end),
        (&b"part"[..], Err(ChannelError::Reset(9)))
    );
}

#[test]
fn a_reset_behind_the_bytes_refuses_nothing() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.run();
    let far = pair.server.accept().unwrap();
    pair.server.write(far, b"part").unwrap();
    pair.server.reset_after_flush(far, REFUSED);
    pair.run();
    let (bytes, end) = pair.read_all(Role::Client, id);
    assert_eq!(
        (&bytes[..], end),
        (&b"part"[..], Err(ChannelError::Reset(0)))
    );
}

#[test]
fn a_channel_that_was_released_before_it_was_accepted_is_not_accepted() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.client.write(id, b"?").unwrap();
    pair.run();
    let events: Vec<Event> = std::iter::from_fn(|| pair.server.poll_event()).collect();
    assert!(events.contains(&Event::Readable(id)), "{events:?}");
    pair.server.release(id);
    assert_eq!(pair.server.accept(), None);
}

/// The key came with an event, and what was read is not done twice.
#[test]
fn a_channel_that_was_read_before_it_was_accepted_is_not_refused() {
    let ends: [fn(&mut Connection); 2] = [Connection::refuse_waiting, |core| core.close("")];
    for end in ends {
        let mut pair = Pair::up();
        let id = pair.client.open().unwrap();
        pair.client.write(id, b"?").unwrap();
        pair.run();
        assert_eq!(pair.server.read(id, &mut [0; 4]), Ok(Read::Bytes(1)));
        end(&mut pair.server);
        pair.run();
        let error = pair.client.read(id, &mut [0; 4]).unwrap_err();
        assert!(!error.is_retryable(), "{error}");
    }
}

#[test]
fn a_lost_connection_is_an_error_and_never_an_end_of_file() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.client.write(id, b"part").unwrap();
    pair.run();
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    pair.server.handle_error(reset);
    let (bytes, end) = pair.read_all(Role::Server, id);
    assert_eq!(bytes, b"part");
    let Err(ChannelError::Connection(ConnectionError::Lost(how))) = end else {
        panic!("{end:?}");
    };
    assert_eq!(how.get_ref().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_violation_is_answered_with_a_goaway_that_names_it() {
    let mut pair = Pair::up();
    pair.server.handle_input(&[1, 0x42], pair.now);
    pair.run();
    let Some(ConnectionError::PeerClosed {
        code: ErrorCode::PROTOCOL,
        text,
    }) = pair.client.error()
    else {
        panic!("{:?}", pair.client.error());
    };
    assert!(text.contains("0x42"), "{text}");
}

#[test]
fn another_magic_is_an_error_on_both_sides() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.server = Connection::new(Role::Server, Config::default().magic(7), pair.now);
    pair.run();
    assert!(pair.server.error().unwrap().to_string().contains("magic"));
    assert!(pair.client.error().is_some());
}

#[test]
fn opens_beyond_the_peers_limit_wait_until_channels_are_over() {
    let mut pair = Pair::up();
    let ids: Vec<Key> = std::iter::from_fn(|| pair.client.open().ok()).collect();
    assert_eq!(ids.len(), 1024);
    assert_eq!(pair.client.open(), Err(OpenError::Blocked));
    pair.client.release(ids[0]);
    pair.run();
    pair.server.release(ids[0]);
    pair.run();
    let events: Vec<Event> = std::iter::from_fn(|| pair.client.poll_event()).collect();
    assert!(events.contains(&Event::Openable));
    assert!(pair.client.open().is_ok());
}

#[test]
fn a_silent_peer_is_pinged_then_suspect_and_then_dead() {
    let mut pair = Pair::up();
    pair.now += Duration::from_secs(15);
    pair.client.handle_timeout(pair.now);
    let mut lost = Vec::new();
    assert_eq!(pair.client.poll_transmit(&mut lost, 1024, pair.now), 16);
    pair.now += Duration::from_secs(2);
    pair.client.handle_timeout(pair.now);
    assert!(pair.client.stats().suspect);
    pair.now += Duration::from_secs(18);
    pair.client.handle_timeout(pair.now);
    assert_eq!(pair.client.error(), Some(&ConnectionError::Dead));
}

#[test]
fn a_request_into_a_black_hole_is_noticed_within_three_seconds() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.client.write(id, b"anyone?").unwrap();
    let started = pair.now;
    while !pair.client.stats().suspect {
        pair.client.poll_transmit(&mut Vec::new(), 1024, pair.now);
        pair.now = pair.client.poll_timeout().unwrap();
        pair.client.handle_timeout(pair.now);
    }
    assert!(pair.now - started <= Duration::from_secs(3));
}

#[test]
fn any_byte_ends_the_doubt_about_a_connection() {
    let mut pair = Pair::up();
    while !pair.client.stats().suspect {
        pair.client.poll_transmit(&mut Vec::new(), 1024, pair.now);
        pair.now = pair.client.poll_timeout().unwrap();
        pair.client.handle_timeout(pair.now);
    }
    pair.server.open().unwrap();
    pair.run();
    assert!(!pair.client.stats().suspect);
}

#[test]
fn a_peer_that_says_nothing_is_given_up_at_the_handshake_time() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.now = pair.server.poll_timeout().unwrap();
    pair.server.handle_timeout(pair.now);
    assert_eq!(
        pair.server.error(),
        Some(&ConnectionError::HandshakeTimeout)
    );
}

#[test]
fn a_drained_peer_opens_no_more_and_its_channels_go_on() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.server.drain();
    pair.run();
    assert_eq!(pair.client.open(), Err(OpenError::Draining));
    pair.client.write(id, b"on").unwrap();
    pair.run();
    assert_eq!(pair.read_all(Role::Server, id).0, b"on");
}

#[test]
fn a_quiet_channel_goes_ahead_of_one_that_streams() {
    let mut pair = Pair::up();
    let (bulk, small) = (pair.client.open().unwrap(), pair.client.open().unwrap());
    pair.client.write(bulk, &[0; 65536]).unwrap();
    let mut first = Vec::new();
    pair.client.poll_transmit(&mut first, 16 << 10, pair.now);
    pair.client.write(small, b"now").unwrap();
    let mut second = Vec::new();
    pair.client.poll_transmit(&mut second, 1, pair.now);
    pair.server.handle_input(&first, pair.now);
    pair.server.handle_input(&second, pair.now);
    assert_eq!(pair.read_all(Role::Server, small).0, b"now");
}

#[test]
fn a_small_message_of_a_channel_with_a_long_past_is_not_split_around_a_stream() {
    let mut pair = Pair::up();
    let (bulk, small) = (pair.client.open().unwrap(), pair.client.open().unwrap());
    pair.client.write(small, &[0; 16_000]).unwrap();
    pair.run();
    assert_eq!(pair.read_all(Role::Server, small).0.len(), 16_000);
    pair.client.write(bulk, &[0; 65536]).unwrap();
    let mut out = Vec::new();
    pair.client.poll_transmit(&mut out, 16 << 10, pair.now);
    pair.client.write(small, &[1; 1000]).unwrap();
    pair.client.poll_transmit(&mut out, 1, pair.now);
    pair.server.handle_input(&out, pair.now);
    assert_eq!(pair.read_all(Role::Server, small).0.len(), 1000);
}

#[test]
fn channels_that_are_always_refilled_do_not_starve_one_that_streams() {
    let mut pair = Pair::up();
    let bulk = pair.client.open().unwrap();
    let refilled: Vec<Key> = (0..2).map(|_| pair.client.open().unwrap()).collect();
    pair.run();
    pair.client.write(bulk, &[0; 65536]).unwrap();
    let mut out = Vec::new();
    pair.client.poll_transmit(&mut out, 1, pair.now);
    for _ in 0..14 {
        for key in &refilled {
            pair.client.write(*key, &[0; 4096]).unwrap();
        }
        pair.client.poll_transmit(&mut out, 8192, pair.now);
    }
    pair.server.handle_input(&out, pair.now);
    let share = pair.read_all(Role::Server, bulk).0.len();
    assert!(share >= 32 << 10, "{share} bytes of {}", out.len());
}

#[test]
fn what_was_written_before_a_release_arrives_ahead_of_the_error() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.run();
    assert_eq!(pair.server.accept(), Some(id));
    pair.client.write(id, b"last words").unwrap();
    pair.client.release(id);
    pair.run();
    let (bytes, end) = pair.read_all(Role::Server, id);
    assert_eq!(bytes, b"last words");
    assert_eq!(end, Err(ChannelError::Reset(0)));
    pair.server.release(id);
    pair.run();
    assert_eq!((pair.client.channels(), pair.server.channels()), (0, 0));
}

/// A peer that takes nothing must not keep what it was to be told.
#[test]
fn a_release_waits_for_no_window() {
    let mut pair = Pair::up();
    let id = pair.client.open().unwrap();
    pair.run();
    assert_eq!(pair.server.accept(), Some(id));
    let bytes = vec![7; 1 << 20];
    while pair.client.write(id, &bytes).unwrap() > 0 {
        pair.run();
    }
    pair.client.release(id);
    pair.run();
    let (bytes, end) = pair.read_all(Role::Server, id);
    assert_eq!(bytes.len(), FIRST_FLIGHT);
    assert_eq!(end, Err(ChannelError::Reset(0)));
}

#[test]
fn a_channel_that_is_given_up_before_anyone_saw_it_has_its_bytes() {
    let mut pair = Pair::up();
    let key = pair.client.open().unwrap();
    pair.client.write(key, b"a request").unwrap();
    pair.client.release(key);
    let mut bytes = Vec::new();
    pair.client.poll_transmit(&mut bytes, 1 << 20, pair.now);
    pair.server.handle_input(&bytes, pair.now);
    let there = pair.server.accept().unwrap();
    let (bytes, end) = pair.read_all(Role::Server, there);
    assert_eq!(
        (&bytes[..], end),
        (&b"a request"[..], Err(ChannelError::Reset(0)))
    );
}
