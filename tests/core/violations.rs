//! What a peer does wrong ends the connection with a code and a text, and what
//! it does right but oddly does not.

use std::time::Duration;

use crate::raw::{FLOW_CONTROL, HANDSHAKE, LIMIT, PROTOCOL, Raw, settings};
use tcpchan::proto::{
    ChannelError, Config, ConnectionError, ErrorCode, Event, OpenError, REFUSED, Read, Role,
};
use tcpchan::wire::{Control, DEFAULT_MAGIC};

/// Bytes that a peer may send on a new channel.
const WINDOW: usize = 64 << 10;

fn fin(channel: u32) -> Control {
    Control::Fin { channel, debt: 0 }
}

fn reset(channel: u32) -> Control {
    Control::Reset {
        channel,
        code: 7,
        debt: 0,
    }
}

fn is_max_channels(control: &Control) -> bool {
    matches!(control, Control::MaxChannels { .. })
}

fn hello() -> Control {
    Control::Hello {
        magic: DEFAULT_MAGIC,
    }
}

// Hello and settings

#[test]
fn a_second_hello_is_a_violation() {
    Raw::client().say(hello()).ends(PROTOCOL, "once");
}

#[test]
fn second_settings_are_a_violation() {
    Raw::client().say(settings(&[])).ends(PROTOCOL, "once");
}

#[test]
fn settings_before_the_hello_are_a_violation() {
    let peer = Raw::silent(Role::Server);
    peer.say(settings(&[])).ends(HANDSHAKE, "come first");
}

#[test]
fn an_open_before_the_settings_is_a_violation() {
    let peer = Raw::silent(Role::Server).say(hello());
    peer.open(1).ends(HANDSHAKE, "come first");
}

#[test]
fn data_before_the_hello_is_a_violation() {
    let peer = Raw::silent(Role::Server);
    peer.data(1, 1).ends(HANDSHAKE, "come first");
}

#[test]
fn data_before_the_settings_is_a_violation() {
    let peer = Raw::silent(Role::Server).say(hello());
    peer.data(1, 1).ends(HANDSHAKE, "come first");
}

#[test]
fn a_goaway_before_the_hello_is_a_violation() {
    let (last, code, text) = (0, 0, String::new());
    let peer = Raw::silent(Role::Server);
    peer.say(Control::GoAway { last, code, text })
        .ends(HANDSHAKE, "come first");
}

#[test]
fn a_client_that_says_the_servers_hello_is_a_violation() {
    let magic = DEFAULT_MAGIC;
    let peer = Raw::silent(Role::Server);
    peer.say(Control::HelloReply { magic })
        .ends(HANDSHAKE, "come first");
}

#[test]
fn a_server_that_says_the_clients_hello_is_a_violation() {
    let peer = Raw::silent(Role::Client);
    peer.say(hello()).ends(HANDSHAKE, "come first");
}

#[test]
fn a_hello_has_its_time_however_much_of_it_comes() {
    for said in [
        Raw::silent(Role::Server),
        Raw::silent(Role::Server).say(hello()),
    ] {
        let peer = said.wait(Duration::from_millis(9_999)).bytes(&[1]);
        assert_eq!(peer.core.error(), None);
        let peer = peer.wait(Duration::from_millis(1));
        assert_eq!(peer.core.error(), Some(&ConnectionError::HandshakeTimeout));
    }
}

#[test]
fn another_magic_is_named_on_both_sides() {
    let peer = Raw::silent(Role::Server);
    peer.say(Control::Hello { magic: 0xABCD })
        .ends(HANDSHAKE, "magic is 0x0000abcd");
}

#[test]
fn settings_that_are_malformed_are_violations() {
    let cut = "a value is cut off";
    for (body, part) in [
        (&[0, 1][..], "a type without its length"),
        (&[0, 1, 0, 4, 0, 1], cut),
        (&[0, 9, 0xFF, 0xFF], cut),
        (&[0, 1, 0, 2, 1, 1], "of another length"),
        (&[0, 1, 0, 4, 0, 0, 0, 1], "out of its range"),
        (&[0, 2, 0, 4, 0x80, 0, 0, 0], "out of its range"),
        (
            &[0, 2, 0, 4, 0, 1, 0, 0, 0, 2, 0, 4, 0, 1, 0, 0],
            "stands twice",
        ),
    ] {
        let peer = Raw::silent(Role::Server).say(hello());
        peer.say(settings(body)).ends(HANDSHAKE, part);
    }
}

#[test]
fn settings_of_an_unknown_type_are_skipped() {
    let peer = Raw::silent(Role::Server).say(hello());
    peer.say(settings(&[0xFF, 0xFF, 0, 1, 9])).goes_on();
}

#[test]
fn oversized_settings_end_before_their_body_arrives() {
    let peer = Raw::silent(Role::Server).say(hello());
    peer.bytes(&[1, 5, 0, 0, 0, 0, 4, 1])
        .ends(HANDSHAKE, "body of 1025 bytes");
}

#[test]
fn whatever_is_wrong_before_the_settings_has_the_code_of_the_handshake() {
    let start = || Raw::silent(Role::Server).say(hello());
    start().bytes(&[1, 0x42]).ends(HANDSHAKE, "unknown op");
    start()
        .bytes(&[1, 0x90, 0, 0, 0, 0, 0, 0])
        .ends(HANDSHAKE, "come first");
    start().bytes(&[0]).ends(HANDSHAKE, "version 0");
    Raw::silent(Role::Server)
        .bytes(&[2])
        .ends(HANDSHAKE, "first byte is 0x02");
}

// Frames

#[test]
fn an_unknown_op_ends_as_soon_as_it_is_seen() {
    Raw::client()
        .bytes(&[1, 0x1A])
        .ends(PROTOCOL, "unknown op 0x1a");
}

#[test]
fn an_unknown_op_that_may_be_skipped_is_skipped() {
    let channel = 3;
    for op in [0x90, 0xFF] {
        let header = [1, op, 0, 0, 0, channel, 0, 5];
        Raw::client().bytes(&header).bytes(b"extra").goes_on();
    }
}

#[test]
fn a_transport_that_ends_within_a_frame_is_lost_and_its_peer_is_told() {
    for cut in [
        &[1][..],
        &[1, 5, 0, 0, 0, 1, 0, 9],
        &[1, 0xFF, 0, 0, 0, 0, 0, 9, 1],
    ] {
        let mut peer = Raw::client().accepted(1).bytes(cut);
        peer.core.handle_eof();
        let error = peer.core.error();
        assert!(matches!(error, Some(ConnectionError::Lost(_))), "{error:?}");
        let Some(Control::GoAway { code, text, .. }) = peer.hear().pop() else {
            panic!("no GOAWAY");
        };
        assert_eq!(code, PROTOCOL);
        assert!(text.contains("within a frame"), "{text}");
    }
}

#[test]
fn a_transport_that_ends_between_frames_is_lost_without_a_word() {
    let mut peer = Raw::client().accepted(1).data(1, 9);
    peer.core.handle_eof();
    let error = peer.core.error();
    assert!(matches!(error, Some(ConnectionError::Lost(_))), "{error:?}");
    assert_eq!(peer.hear(), []);
}

#[test]
fn another_version_within_a_connection_ends_it() {
    Raw::client().bytes(&[0]).ends(PROTOCOL, "version 0");
}

#[test]
fn a_close_belongs_to_version_0() {
    let peer = Raw::client().open(1);
    peer.say(Control::Close { channel: 1 })
        .ends(PROTOCOL, "0x04");
}

#[test]
fn bodies_of_a_wrong_length_are_violations() {
    for (op, len) in [
        (0x05, 0),
        (0x05, 16385),
        (0x10, 7),
        (0x11, 1),
        (0x12, 3),
        (0x13, 5),
    ] {
        let [high, low] = u16::to_be_bytes(len);
        let peer = Raw::client().open(1);
        peer.bytes(&[1, op, 0, 0, 0, 1, high, low])
            .ends(PROTOCOL, "body");
    }
    for (op, len) in [(0x14, 9), (0x15, 0), (0x16, 8), (0x17, 1), (0x18, 7)] {
        let peer = Raw::client().bytes(&[1, op, 0, 0, 0, 0, 0, len]);
        peer.ends(PROTOCOL, "body");
    }
}

#[test]
fn a_text_that_is_too_long_ends_before_it_arrives() {
    let [high, low] = u16::to_be_bytes(8 + 1017);
    let peer = Raw::client();
    peer.bytes(&[1, 0x18, 0, 0, 0, 0, high, low])
        .ends(PROTOCOL, "body of 1025 bytes");
}

#[test]
fn a_text_that_is_not_utf8_is_a_violation() {
    let peer = Raw::client();
    peer.bytes(&[1, 0x18, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF])
        .ends(PROTOCOL, "UTF-8");
}

#[test]
fn channel_0_is_no_channel() {
    Raw::client()
        .open(0)
        .ends(PROTOCOL, "op 0x03 can't have channel 0");
    Raw::client().say(fin(0)).ends(PROTOCOL, "channel 0");
}

#[test]
fn a_ping_has_no_channel() {
    let peer = Raw::client();
    peer.bytes(&[1, 0x14, 0, 0, 0, 1, 0, 8])
        .ends(PROTOCOL, "channel 1");
}

// Opening

#[test]
fn an_open_that_skips_a_number_is_a_violation() {
    Raw::client().open(3).ends(PROTOCOL, "out of order");
}

#[test]
fn an_open_that_repeats_a_number_is_a_violation() {
    Raw::client().open(1).open(1).ends(PROTOCOL, "out of order");
}

#[test]
fn an_even_number_from_a_client_is_a_violation() {
    Raw::client().open(2).ends(PROTOCOL, "out of order");
}

#[test]
fn an_odd_number_from_a_server_is_a_violation() {
    Raw::server().open(1).ends(PROTOCOL, "out of order");
}

#[test]
fn one_open_more_than_was_allowed_is_a_violation() {
    let full = (0..1024).fold(Raw::client(), |peer, i| peer.open(2 * i + 1));
    full.goes_on().open(2049).ends(LIMIT, "more channels");
}

#[test]
fn an_open_beyond_what_the_peer_was_told_is_a_violation() {
    let mut peer = (0..1024).fold(Raw::client(), |peer, i| peer.accepted(2 * i + 1));
    let key = peer.key();
    peer = peer.say(fin(2047));
    peer.core.release(key);
    // The RESET leaves, and with it the channel; MAX_CHANNELS is owed.
    peer.core.poll_transmit(&mut Vec::new(), 1, peer.now);
    peer.open(2049).ends(LIMIT, "more channels");
}

#[test]
fn an_open_after_the_answer_to_a_drain_is_a_violation() {
    let mut peer = Raw::client().open(1);
    peer.hear();
    peer.core.drain();
    let said = peer.hear();
    let [Control::Drain, Control::Ping { token }] = said[..] else {
        panic!("{said:?}");
    };
    let mut peer = peer.open(3).say(Control::Pong { token });
    assert!(peer.core.is_drained());
    assert!(peer.core.accept().is_some() && peer.core.accept().is_some());
    peer.open(5).ends(PROTOCOL, "drain");
}

// Channels

#[test]
fn a_frame_for_a_channel_that_was_never_opened_is_a_violation() {
    let never = "channel 1 was never opened";
    Raw::client().data(1, 1).ends(PROTOCOL, never);
    Raw::client().say(fin(1)).ends(PROTOCOL, never);
    Raw::client().say(reset(1)).ends(PROTOCOL, never);
    let (channel, code, limit) = (1, 0, 9);
    let client = Raw::client;
    client()
        .say(Control::Stop { channel, code })
        .ends(PROTOCOL, never);
    client()
        .say(Control::Window {
            channel,
            limit,
            loan: 2 << 20,
        })
        .ends(PROTOCOL, never);
    Raw::client()
        .say(fin(2))
        .ends(PROTOCOL, "channel 2 was never opened");
}

#[test]
fn a_frame_for_a_channel_whose_open_has_not_left_is_a_violation() {
    let mut peer = Raw::server();
    peer.core.open().unwrap();
    peer.say(reset(1)).ends(PROTOCOL, "never opened");
}

#[test]
fn data_up_to_the_window_is_taken_and_a_byte_more_is_not() {
    let peer = without_budget().accepted(1).data(1, WINDOW).goes_on();
    peer.data(1, 1).ends(FLOW_CONTROL, "beyond the window");
}

fn without_budget() -> Raw {
    Raw::client_of(Config::default().receive_budget(0))
}

#[test]
fn data_beyond_the_window_ends_before_it_arrives() {
    let peer = without_budget().accepted(1).data(1, WINDOW - 1);
    peer.bytes(&[1, 5, 0, 0, 0, 1, 0, 2])
        .ends(FLOW_CONTROL, "beyond the window");
}

#[test]
fn data_that_nobody_reads_uses_the_window_too() {
    let mut peer = without_budget().accepted(1);
    peer.core.stop(peer.key(), 0);
    let peer = peer.data(1, WINDOW).goes_on();
    peer.data(1, 1).ends(FLOW_CONTROL, "beyond the window");
}

#[test]
fn data_after_the_end_is_a_violation() {
    for end in [fin(1), reset(1)] {
        let peer = Raw::client().accepted(1).say(end);
        let mut peer = peer.data(1, 1);
        // What ended before the violation keeps its own end.
        peer.core.release(peer.key());
        assert!(matches!(
            peer.core.error(),
            Some(ConnectionError::Violation { code: ErrorCode(PROTOCOL), text }) if text.contains("DATA after")
        ));
    }
}

#[test]
fn a_second_end_is_a_violation() {
    for (first, second) in [
        (fin(1), fin(1)),
        (fin(1), reset(1)),
        (reset(1), fin(1)),
        (reset(1), reset(1)),
    ] {
        let peer = Raw::client().accepted(1).say(first);
        peer.say(second).ends(PROTOCOL, "after the end");
    }
}

#[test]
fn frames_for_a_channel_that_is_over_are_ignored() {
    let mut peer = Raw::client().accepted(1).say(fin(1));
    peer.core.finish(peer.key()).unwrap();
    peer.hear();
    peer.core.release(peer.key());
    assert_eq!(peer.core.channels(), 0);
    let (channel, code, limit) = (1, 0, 9);
    peer.say(Control::Window {
        channel,
        limit,
        loan: 2 << 20,
    })
    .say(Control::Stop { channel, code })
    .goes_on();
}

#[test]
fn data_or_an_end_for_a_closed_channel_is_one_after_its_senders_end() {
    for frame in [
        |peer: Raw| peer.data(1, 1),
        |peer: Raw| peer.say(fin(1)),
        |peer: Raw| peer.say(reset(1)),
    ] {
        let mut peer = Raw::client().accepted(1).say(fin(1)).released(0..1);
        peer.hear();
        assert_eq!(peer.core.channels(), 0);
        frame(peer).ends(PROTOCOL, "channel 1 is closed");
    }
}

#[test]
fn a_count_of_channels_never_shrinks() {
    let mut peer = Raw::client().say(Control::MaxChannels { count: 1 });
    let opened = std::iter::from_fn(|| peer.core.open().ok()).count();
    assert_eq!(opened, 256);
    assert_eq!(peer.core.open(), Err(OpenError::Blocked));
    let peer = peer.say(Control::MaxChannels { count: u32::MAX });
    let mut peer = peer.goes_on();
    assert!(peer.core.open().is_ok());
}

// The connection

#[test]
fn a_flood_of_pings_is_owed_one_pong() {
    let ping = |token| Control::Ping { token };
    let mut peer = (0..1_000).fold(Raw::client(), |peer, token| peer.say(ping(token)));
    assert_eq!(peer.hear(), [Control::Pong { token: 999 }]);
}

#[test]
fn a_flood_of_stops_is_owed_one_reset() {
    let (channel, code) = (1, 3);
    let mut peer = Raw::client().accepted(1);
    peer.hear();
    let stop = || Control::Stop { channel, code };
    let mut peer = (0..1000).fold(peer, |peer, _| peer.say(stop()));
    assert_eq!(
        peer.hear(),
        [Control::Reset {
            channel,
            code,
            debt: 0
        }]
    );
    assert_eq!(
        peer.core.write(peer.key(), b"x"),
        Err(ChannelError::Stopped(code))
    );
    assert_eq!(peer.say(stop()).hear(), []);
}

#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    Raw::client().say(Control::Pong { token: 77 }).goes_on();
}

#[test]
fn a_second_drain_is_harmless_and_told_once() {
    let mut peer = Raw::client().say(Control::Drain).say(Control::Drain);
    assert_eq!(peer.core.poll_event(), Some(Event::Draining));
    assert_eq!(peer.core.poll_event(), None);
    assert_eq!(peer.core.open(), Err(OpenError::Draining));
    peer.goes_on();
}

#[test]
fn a_goaway_tells_each_channel_whether_it_may_be_tried_again() {
    let peer = Raw::server().opened();
    let first = peer.key();
    let mut peer = peer.opened();
    let second = peer.key();
    let third = peer.core.open().unwrap(); // its OPEN never leaves
    let (last, code, text) = (1, 9, "bye".to_owned());
    let mut peer = peer.say(Control::GoAway { last, code, text });
    let text = "bye".to_owned();
    let error = ConnectionError::PeerClosed {
        code: ErrorCode(code),
        text,
    };
    assert_eq!(
        peer.core.read(first, &mut [0]),
        Err(ChannelError::Connection(error.clone()))
    );
    for key in [second, third] {
        let end = peer.core.read(key, &mut [0]).unwrap_err();
        assert_eq!(end, ChannelError::Refused(Some(error.clone())));
        assert!(end.is_retryable());
        assert_eq!(peer.core.write(key, b"x"), Err(end));
    }
    assert_eq!(peer.core.error(), Some(&error));
    assert_eq!(peer.hear(), []);
}

#[test]
fn the_words_of_a_goaway_forge_no_line_of_a_log() {
    let (last, code, text) = (0, 9, "bye, \"föö\"\nERROR \u{1b}[31m".to_owned());
    let peer = Raw::client().say(Control::GoAway { last, code, text });
    assert_eq!(
        peer.core.error().unwrap().to_string(),
        "the peer closed the connection (code 9): bye, \"föö\"\\nERROR \\u{1b}[31m"
    );
}

#[test]
fn nothing_after_a_goaway_is_processed() {
    let (last, code, text) = (0, 0, String::new());
    let peer = Raw::client().say(Control::GoAway { last, code, text });
    let mut peer = peer.open(1).data(1, 1).bytes(&[9, 9, 9]);
    assert_eq!(peer.core.accept(), None);
    assert!(matches!(
        peer.core.error(),
        Some(ConnectionError::PeerClosed { .. })
    ));
}

#[test]
fn a_reset_says_whether_the_channel_may_be_tried_again() {
    for (code, error) in [
        (REFUSED, ChannelError::Refused(None)),
        (7, ChannelError::Reset(7)),
    ] {
        let peer = Raw::server().opened();
        let mut peer = peer.say(Control::Reset {
            channel: 1,
            code,
            debt: 0,
        });
        let key = peer.key();
        assert_eq!(peer.core.read(key, &mut [0]), Err(error));
        peer.goes_on();
    }
}

#[test]
fn a_goaway_names_no_channel_that_is_handed_out_later() {
    let mut peer = Raw::client().accepted(1).open(3).data(3, 5).say(fin(3));
    peer.core.close("bye");
    let Some(Control::GoAway { last: 1, .. }) = peer.hear().pop() else {
        panic!("no GOAWAY with the first channel");
    };
    // The peer may try channel 3 again, so it can't be served here too.
    assert_eq!(peer.core.accept(), None);
}

#[test]
fn channels_that_closed_early_are_not_lost_to_the_peer() {
    let mut peer = (0..500).fold(Raw::client(), |peer, i| peer.accepted(2 * i + 1));
    for channel in (1..400).step_by(2) {
        peer = peer.say(fin(channel));
    }
    peer = peer.released(0..200);
    assert!(!peer.hear().iter().any(is_max_channels));
    let mut peer = (500..1024).fold(peer, |peer, i| peer.open(2 * i + 1));
    // It has 1,024 - 200 channels, so it may open 200 more.
    let mut said = peer.hear();
    said.retain(is_max_channels);
    assert_eq!(said, [Control::MaxChannels { count: 1224 }]);
}

#[test]
fn what_was_received_before_a_violation_can_still_be_read() {
    let mut peer = Raw::client().accepted(1).data(1, 5).bytes(&[1, 0x42]);
    let key = peer.key();
    assert_eq!(peer.core.read(key, &mut [0; 9]), Ok(Read::Bytes(5)));
    assert!(matches!(
        peer.core.read(key, &mut [0; 9]),
        Err(ChannelError::Connection(_))
    ));
    peer.ends(PROTOCOL, "0x42");
}

#[test]
fn a_stop_is_answered_by_a_reset_with_its_code() {
    for code in [7, REFUSED] {
        let mut raw = Raw::server().opened();
        raw = raw.say(Control::Stop { channel: 1, code });
        assert_eq!(
            raw.hear(),
            [Control::Reset {
                channel: 1,
                code,
                debt: 0
            }]
        );
    }
}

#[test]
fn a_stop_of_the_opener_with_the_code_of_a_refusal_is_answered_with_0() {
    let (channel, code, debt) = (1, REFUSED, 0);
    let mut raw = Raw::client()
        .accepted(1)
        .say(Control::Stop { channel, code });
    let code = 0;
    let reset = Control::Reset {
        channel,
        code,
        debt,
    };
    assert_eq!(raw.hear(), [reset]);
}
