//! What a peer may not do too often, over the core in virtual time: each flood
//! ends with a GOAWAY, and the same number of frames in honest time does not.

use crate::raw;
use std::time::{Duration, Instant};

use crate::raw::{FLOW_CONTROL, LIMIT, Raw};
use tcpchan::proto::{Config, Connection, REFUSED, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Protocol, Version};

const SECOND: Duration = Duration::from_secs(1);

/// What the limits of these tests are set to.
const RATE: u32 = 1_000;

fn limits() -> Config {
    let config = Config::default()
        .pings_per_second(RATE)
        .and_then(|config| config.cancels_per_second(RATE))
        .and_then(|config| config.no_op_frames_per_second(RATE))
        .and_then(|config| config.max_channels(256));
    config.unwrap()
}

fn peer() -> Raw {
    Raw::client_of(limits())
}

/// The flood ends the connection at the frame after `most`, and what it may do
/// at once it may do again after a second.
fn limited(start: impl Fn() -> Raw, most: u32, part: &str, act: impl Fn(Raw, u32) -> Raw) {
    start().times(most, &act).goes_on();
    start().times(most + 1, &act).ends(LIMIT, part);
    let rested = start().times(most, &act).wait(SECOND);
    rested.times(RATE, |raw, i| act(raw, most + i)).goes_on();
}

fn cancel(raw: Raw, nth: u32) -> Raw {
    let raw = heard(raw).accepted(nth * 2 + 1);
    let channel = nth * 2 + 1;
    raw.say(Control::Reset {
        channel,
        code: 0,
        debt: 0,
    })
    .released_unfinished()
}

/// Takes what the core owes, so that it allows more channels.
fn heard(mut raw: Raw) -> Raw {
    raw.hear();
    raw
}

fn unknown_op(raw: Raw, _: u32) -> Raw {
    raw.bytes(&[1, 0xFF, 0, 0, 0, 0, 0, 3, 9, 9, 9])
}

#[test]
fn pings() {
    // One less, since `goes_on` needs one itself.
    let ping = |raw: Raw, token| raw.say(Control::Ping { token });
    peer()
        .times(RATE - 1, |raw, i| ping(raw, i.into()))
        .goes_on();
    let flood = peer().times(RATE + 1, |raw, i| ping(raw, i.into()));
    flood.ends(LIMIT, "pings a second");
    let rested = peer()
        .times(RATE, |raw, i| ping(raw, i.into()))
        .wait(SECOND);
    rested.goes_on();
}

#[test]
fn channels_that_are_opened_and_given_up() {
    limited(peer, RATE + 256, "cancels a second", cancel);
}

#[test]
fn channels_that_are_opened_and_stopped() {
    let stop = |raw: Raw, nth| {
        let channel = nth * 2 + 1;
        let raw = heard(raw).accepted(channel);
        let raw = raw.say(Control::Stop { channel, code: 0 });
        raw.say(Control::Fin { channel, debt: 0 })
            .released_unfinished()
    };
    limited(peer, RATE + 256, "cancels a second", stop);
}

#[test]
fn channels_that_are_given_up_before_they_are_accepted() {
    let config = Config::default().cancels_per_second(RATE);
    let start = || Raw::client_of(config.clone().unwrap());
    let flood = start().times(1024, |raw, nth| {
        let channel = nth * 2 + 1;
        let raw = raw.open(channel);
        raw.say(Control::Reset {
            channel,
            code: 0,
            debt: 0,
        })
    });
    assert_eq!(
        flood.core.channels(),
        1024,
        "they count until they are let go of"
    );
    flood
        .open(2049)
        .ends(LIMIT, "more channels than were allowed");
}

#[test]
fn channels_that_this_side_is_made_to_refuse() {
    let config = || limits().accept_backlog(1).unwrap();
    let start = || Raw::client_of(config()).open(1);
    limited(start, RATE + 256, "cancels a second", |raw, nth| {
        let channel = nth * 2 + 3;
        let raw = heard(raw).open(channel);
        raw.say(Control::Fin { channel, debt: 0 })
    });
}

#[test]
fn a_channel_that_got_an_answer_is_no_cancel() {
    let answered = |raw: Raw, nth| {
        let channel = nth * 2 + 1;
        let mut raw = heard(raw).accepted(channel);
        raw.core.write(raw.key(), b"x").unwrap();
        let raw = heard(raw).say(Control::Reset {
            channel,
            code: 0,
            debt: 0,
        });
        raw.released_unfinished()
    };
    peer().times(2000, answered).goes_on();
}

#[test]
fn unknown_ops() {
    limited(peer, RATE, "no-op frames", unknown_op);
}

#[test]
fn an_unknown_op_before_the_hello_is_a_violation() {
    let peer = Raw::silent(Role::Server);
    unknown_op(peer, 0).ends(raw::HANDSHAKE, "come first");
}

#[test]
fn pongs_that_nobody_asked_for() {
    limited(peer, RATE, "no-op frames", |raw, _| {
        raw.say(Control::Pong { token: 99_999 })
    });
}

#[test]
fn drains() {
    let start = || peer().say(Control::Drain);
    limited(start, RATE, "no-op frames", |raw, _| {
        raw.say(Control::Drain)
    });
}

#[test]
fn counts_of_channels_that_do_not_rise_or_that_nobody_needs() {
    limited(peer, RATE, "no-op frames", |raw, _| {
        raw.say(Control::MaxChannels { count: 0 })
    });
    limited(peer, RATE, "no-op frames", |raw, i| {
        raw.say(Control::MaxChannels { count: 1000 + i })
    });
    let busy = || {
        let raw = Raw::client_of(limits()).times(44, |raw, _| raw.opened());
        raw.say(Control::MaxChannels { count: 300 })
    };
    limited(busy, RATE, "no-op frames", |raw, _| {
        raw.say(Control::MaxChannels { count: 300 })
    });
}

#[test]
fn a_count_for_each_channel_that_is_over_is_honest() {
    let raw = Raw::client_of(limits()).times(200, |raw, _| raw.opened());
    let count = |raw: Raw, nth| raw.say(Control::MaxChannels { count: 257 + nth });
    raw.times(200, count).goes_on();
}

#[test]
fn frames_for_a_channel_that_is_over() {
    let channel = 1;
    let over = || {
        let raw = peer()
            .accepted(channel)
            .say(Control::Fin { channel, debt: 0 });
        let mut raw = raw.released(0..1);
        raw.hear();
        assert_eq!(raw.core.channels(), 0);
        raw
    };
    let late = 1; // a STOP, which may have crossed the end
    let window = |raw: Raw, _| {
        raw.say(Control::Window {
            channel,
            limit: 1,
            loan: 2 << 20,
        })
    };
    let stop = |raw: Raw, _| raw.say(Control::Stop { channel, code: 1 });
    limited(over, RATE + late, "no-op frames", window);
    limited(over, RATE + late, "no-op frames", stop);
}

#[test]
fn stops_of_one_channel() {
    let channel = 1;
    let start = || peer().open(channel).say(Control::Stop { channel, code: 1 });
    limited(start, RATE, "no-op frames", |raw, _| {
        raw.say(Control::Stop { channel, code: 1 })
    });
}

#[test]
fn one_byte_frames_that_nobody_reads_end_at_the_window() {
    let raw = Raw::client_of(limits().receive_budget(0)).accepted(1);
    let raw = raw.times(64 << 10, |raw, _| raw.data(1, 1));
    assert_eq!(raw.core.stats().buffered, 64 << 10);
    raw.data(1, 1).ends(FLOW_CONTROL, "beyond the window");
}

#[test]
fn one_byte_frames_that_nobody_wants_end_at_the_window() {
    let mut raw = Raw::client_of(limits().receive_budget(0)).accepted(1);
    raw.core.stop(raw.key(), 0);
    let raw = raw.times(64 << 10, |raw, _| raw.data(1, 1));
    assert_eq!(raw.core.stats().buffered, 0);
    raw.data(1, 1).ends(FLOW_CONTROL, "beyond the window");
}

/// Their RESETs fill each write, so their bytes never have a turn.
#[test]
fn channels_that_are_closed_before_their_bytes_have_a_turn_are_forgotten() {
    const EACH: u32 = 100;
    const RESET: usize = 20; // bytes
    let now = Instant::now();
    let [mut client, mut server] =
        [Role::Client, Role::Server].map(|role| Connection::new(role, Config::default(), now));
    let (mut bytes, mut reset) = (Vec::new(), 0);
    for _ in 0..50 {
        let keys: Vec<_> = (0..EACH).filter_map(|_| client.open().ok()).collect();
        client.poll_transmit(&mut bytes, usize::MAX, now);
        server.handle_input(&std::mem::take(&mut bytes), now);
        let theirs: Vec<_> = std::iter::from_fn(|| server.accept()).collect();
        for key in &theirs {
            server.write(*key, b"answer").unwrap();
        }
        for key in keys {
            client.stop(key, 0);
            client.reset(key, 0);
            client.release(key);
        }
        client.poll_transmit(&mut bytes, usize::MAX, now);
        server.handle_input(&std::mem::take(&mut bytes), now);
        for key in &theirs {
            server.release(*key);
        }
        reset += theirs.len();
        server.poll_transmit(&mut bytes, RESET * theirs.len(), now);
        client.handle_input(&std::mem::take(&mut bytes), now);
    }
    assert!(reset > 1_000, "{reset}");
    let (living, sending) = (server.channels(), server.sending());
    assert!(sending <= 2 * living + 16, "{sending} of {living}");
}

#[test]
fn channels_beyond_those_that_may_wait_are_refused_and_the_others_go_on() {
    let config = Config::default().accept_backlog(10).unwrap();
    let mut raw = Raw::client_of(config).times(12, |raw, nth| raw.open(nth * 2 + 1));
    let heard = raw.hear();
    for channel in [21, 23] {
        let code = REFUSED;
        assert!(heard.contains(&Control::Reset {
            channel,
            code,
            debt: 0
        }));
        assert!(heard.contains(&Control::Stop { channel, code }));
    }
    let accepted = std::iter::from_fn(|| raw.core.accept()).count();
    assert_eq!(accepted, 10);
    raw.goes_on();
}

#[test]
fn a_peer_that_reads_nothing_is_given_up_though_it_says_a_lot() {
    let stall = Duration::from_secs(30);
    let mut raw = Raw::client().accepted(1);
    let start = raw.now;
    raw.core.handle_blocked(start);
    let mut token = 0;
    while raw.core.error().is_none() && raw.now < start + stall * 2 {
        raw.now += SECOND / 2;
        raw.core.handle_blocked(raw.now);
        raw = raw.say(Control::Ping { token });
        raw.core.handle_timeout(raw.now);
        token += 1;
    }
    assert_eq!(raw.now - start, stall);
    raw.ends(LIMIT, "reads nothing");
}

#[test]
fn a_peer_that_reads_now_and_then_is_not_given_up() {
    let mut raw = Raw::client();
    for _ in 0..100 {
        raw.core.handle_blocked(raw.now);
        raw = raw
            .wait(Duration::from_secs(20))
            .say(Control::Ping { token: 1 });
        raw.core.handle_progress(raw.now);
    }
    raw.goes_on();
}

/// Of version 0, since another peer's are a violation at once.
#[test]
fn frames_of_no_bytes() {
    let start = || Raw::version0_client_of(limits()).accepted(1);
    for channel in [1, 9] {
        let empty = |raw: Raw, _| raw.frame(channel, &[]); // there is no channel 9
        start().times(RATE, empty).lives();
        let flood = start().times(RATE + 1, empty);
        flood.fails(LIMIT, "no-op frames");
    }
}

#[test]
fn channels_of_version_0_that_are_opened_and_closed() {
    let start = || Raw::version0_client_of(limits());
    let cancel = |raw: Raw, nth| {
        let channel = nth + 1;
        let raw = raw.accepted(channel).data(channel, 1);
        raw.say(Control::Close { channel }).released_unfinished()
    };
    start().times(RATE + 256, cancel).lives();
    let flood = start().times(RATE + 257, cancel);
    flood.fails(LIMIT, "cancels a second");
    let rested = start().times(RATE + 256, cancel).wait(SECOND);
    rested.times(RATE, cancel).lives();
}

#[test]
fn a_channel_of_version_0_that_got_an_answer_or_was_given_up_here_is_no_cancel() {
    let start = || Raw::version0_client_of(limits());
    let answered = |raw: Raw, nth| {
        let channel = nth + 1;
        let mut raw = raw.accepted(channel);
        raw.core.write(raw.key(), b"x").unwrap();
        let raw = heard(raw).say(Control::Close { channel });
        raw.released_unfinished()
    };
    start().times(3 * RATE, answered).lives();
    let given_up = |raw: Raw, nth| {
        let channel = nth + 1;
        let mut raw = raw.accepted(channel);
        raw.core.write(raw.key(), b"x").unwrap();
        let raw = raw.released_unfinished();
        heard(raw.say(Control::Close { channel }))
    };
    start().times(3 * RATE, given_up).lives();
    let answered_by_nothing = |raw: Raw, nth| {
        let channel = nth + 1;
        let mut raw = raw.accepted(channel);
        raw.core.finish(raw.key()).unwrap();
        let raw = heard(raw).say(Control::Close { channel });
        raw.released_unfinished()
    };
    start().times(3 * RATE, answered_by_nothing).lives();
}

#[test]
fn channels_of_version_0_that_this_side_is_made_to_close() {
    let config = || limits().accept_backlog(1).unwrap();
    let start = || Raw::version0_client_of(config()).open(1);
    let open_and_close = |raw: Raw, nth| {
        let channel = nth + 2;
        heard(raw.open(channel)).say(Control::Close { channel })
    };
    start().times(RATE + 256, open_and_close).lives();
    let flood = start().times(RATE + 257, open_and_close);
    flood.fails(LIMIT, "cancels a second");
}

#[test]
fn closes_of_version_0_for_a_channel_that_is_over() {
    let close = |raw: Raw, _| raw.say(Control::Close { channel: 9 });
    let start = || Raw::version0_client_of(limits());
    start().times(RATE, close).lives();
    start().times(RATE + 1, close).fails(LIMIT, "no-op frames");
}

#[test]
fn channels_of_version_0_beyond_those_there_may_be() {
    let start = || {
        let raw = Raw::version0_client_of(limits());
        raw.times(256, |raw, nth| raw.accepted(nth + 1))
    };
    let open_and_close = |raw: Raw, nth| {
        let channel = nth + 1000;
        heard(raw.open(channel)).say(Control::Close { channel })
    };
    start().times(RATE + 256, open_and_close).lives();
    let flood = start().times(RATE + 257, open_and_close);
    flood.fails(LIMIT, "cancels a second");
    let close_unheard = |raw: Raw, nth| {
        let channel = nth + 1000;
        raw.open(channel).say(Control::Close { channel })
    };
    start().times(RATE + 256, close_unheard).lives();
    let flood = start().times(RATE + 257, close_unheard);
    flood.fails(LIMIT, "cancels a second");
}

/// A client of version 0 that opens channels under these numbers.
fn version0(ids: impl Iterator<Item = u32>) -> Duration {
    let config = Config::default()
        .protocol(Protocol::V0)
        .max_channels(1 << 14);
    let mut peer = Connection::new(Role::Server, config.unwrap(), Instant::now());
    let magic = DEFAULT_MAGIC;
    let opens = ids.map(|channel| Control::Open { channel });
    let mut bytes = Vec::new();
    for control in std::iter::once(Control::Hello { magic }).chain(opens) {
        Frame::Control(control).encode(Version::V0, &mut bytes);
    }
    let start = Instant::now();
    peer.handle_input(&bytes, start);
    assert_eq!(peer.channels(), 1 << 14);
    start.elapsed()
}

/// It may choose them so that a table that is known to it looks at all for
/// each, which took a hundred times as long.
#[test]
fn numbers_of_channels_that_are_chosen_to_be_slow_are_not() {
    let fastest = |step: usize| {
        let ids = || (1u32..).step_by(step).take(1 << 14);
        (0..5).map(|_| version0(ids())).min().unwrap()
    };
    let (spread, chosen) = (fastest(1), fastest(1 << 17));
    assert!(chosen < 20 * spread, "{chosen:?} for {spread:?}");
}
