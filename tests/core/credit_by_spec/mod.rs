//! The rules of credit, W10 to W12 of the wire, by what the documents say of them and
//! nothing else.

mod peer;
mod rules;
mod world;

use crate::seeds;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::credit_frames::{fin, reset, returned, window, window_with};
use crate::long_link::LongLink;
use crate::raw::{FLOW_CONTROL, LIMIT, PROTOCOL, Raw, settings};
use peer::Peer;
use rules::Seen;
use tcpchan::proto::{ChannelError, Config, Connection, Event, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Protocol, Settings};
use world::World;

/// The least window, and the default.
const WINDOW: usize = 64 << 10;
const HALF: usize = WINDOW / 2;
const MIB: usize = 1 << 20;

const WORLDS: u64 = 500;

fn said(window: u32, budget: u64) -> Settings {
    let mut said = Settings::default();
    (said.initial_window, said.receive_budget) = (window, budget);
    said.max_channels = 4096;
    said
}

/// A core of this configuration whose peer has said its hello with these settings.
fn core(role: Role, config: Config, said: Settings) -> Raw {
    let mut raw = Raw::silent(role);
    raw.core = Connection::new(role, config, raw.now);
    let magic = DEFAULT_MAGIC;
    let hello = match role {
        Role::Server => Control::Hello { magic },
        Role::Client => Control::HelloReply { magic },
    };
    let mut raw = raw.say(hello).say(settings(&said.encode()));
    assert_eq!(raw.core.poll_event(), Some(Event::Connected));
    raw.hear();
    raw
}

/// A core that receives, with this budget.
fn receiver(budget: u64) -> Raw {
    let config = Config::default().receive_budget(budget);
    core(Role::Server, config, Settings::default())
}

/// A core that has a channel and sends to a peer with these settings.
fn sender(window: u32, budget: u64) -> Raw {
    let config = Config::default().max_channels(4096).expect("a count");
    core(Role::Server, config, said(window, budget)).accepted(1)
}

/// Bytes of DATA that leave now, of each channel.
fn data(raw: &mut Raw) -> BTreeMap<u32, usize> {
    let (mut bytes, mut sent) = (Vec::new(), BTreeMap::new());
    while raw.core.poll_transmit(&mut bytes, WINDOW, raw.now) > 0 {}
    let (mut decoder, mut input) = (Decoder::new(Protocol::V1), &bytes[..]);
    while let Some(decoded) = decoder.decode(&mut input).expect("frames") {
        if let Decoded::Data { channel, len } = decoded {
            *sent.entry(channel).or_default() += len;
        }
    }
    sent
}

/// Writes to a channel of this number as much as the core takes: how much of it leaves.
fn pour_into(raw: &mut Raw, id: u32, key: Key) -> usize {
    let mut sent = 0;
    loop {
        sent += data(raw).get(&id).copied().unwrap_or(0);
        if raw.core.write(key, &[7; WINDOW]).expect("a channel") == 0 {
            return sent;
        }
    }
}

/// The same for the last channel.
fn pour(raw: &mut Raw) -> usize {
    let key = raw.key();
    let id = raw.core.id(key).expect("a number");
    pour_into(raw, id, key)
}

/// Writes so much, which all leaves.
fn send(mut raw: Raw, bytes: usize) -> Raw {
    let (key, before) = (raw.key(), raw.core.data_sent());
    let mut left = bytes;
    while left > 0 {
        let n = raw.core.write(key, &vec![7; left]).expect("a channel");
        assert!(n > 0, "{left} more of {bytes}");
        left -= n;
        raw.hear();
    }
    assert_eq!(raw.core.data_sent() - before, bytes as u64);
    raw
}

/// Reads so much.
fn read(raw: &mut Raw, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        match raw.core.read_with(raw.key(), left, |_| {}) {
            Ok(Read::Bytes(n)) => left -= n,
            other => panic!("{left} of {bytes}: {other:?}"),
        }
    }
}

/// What the core says in so many milliseconds.
fn hear_for(raw: &mut Raw, milliseconds: u64) -> Vec<Control> {
    let mut all = raw.hear();
    for _ in 0..milliseconds {
        raw.now += Duration::from_millis(1);
        raw.core.handle_timeout(raw.now);
        all.extend(raw.hear());
    }
    all
}

/// The WINDOWs and RETURNs of those, all with the first loan: it is advice.
fn credit(controls: Vec<Control>) -> Vec<Control> {
    let of_credit = |control| match control {
        Control::Window { channel, limit, .. } => Some(window(channel, limit as usize)),
        Control::Return { .. } => Some(control),
        _ => None,
    };
    controls.into_iter().filter_map(of_credit).collect()
}

fn stop(channel: u32) -> Control {
    Control::Stop { channel, code: 7 }
}

fn left(raw: &Raw) -> usize {
    raw.core.stats().budget_left as usize
}

// Two cores, and a judge.

#[test]
fn what_two_cores_send_each_other_obeys_every_rule() {
    let mut all = Seen::default();
    let mut worlds = 0;
    seeds::each(WORLDS, "--test core credit_by_spec::", |seed| {
        worlds += 1;
        for seen in World::new(seed).run() {
            all.windows += seen.windows;
            all.returns += seen.returns;
            all.borrowed += seen.borrowed;
            all.last_quarter += seen.last_quarter;
            all.debts += seen.debts;
        }
    });
    // The judge had something to judge.
    let least = [
        all.windows,
        all.returns,
        all.borrowed,
        all.last_quarter,
        all.debts,
    ];
    assert!(worlds < WORLDS || least.iter().all(|n| *n > 200), "{all:?}");
}

#[test]
fn an_honest_peer_that_uses_its_rights_to_the_utmost_breaks_no_rule() {
    seeds::each(WORLDS, "--test core credit_by_spec::", |seed| {
        Peer::new(seed).run()
    });
}

// W10: what a peer may send.

#[test]
fn a_peer_may_fill_its_window_and_the_whole_budget_and_no_more() {
    for budget in [1, 999, 100_000, 3 * MIB] {
        let raw = receiver(budget as u64)
            .accepted(1)
            .data(1, WINDOW + budget)
            .goes_on();
        assert_eq!(left(&raw), 0);
        raw.data(1, 1).ends(FLOW_CONTROL, "");
    }
}

#[test]
fn the_debts_of_all_channels_count_together() {
    let raw = receiver(1000)
        .accepted(1)
        .accepted(3)
        .data(1, WINDOW + 400)
        .data(3, WINDOW + 600)
        .goes_on();
    assert_eq!(left(&raw), 0);
    raw.data(3, 1).ends(FLOW_CONTROL, "");
}

#[test]
fn a_window_is_free_where_the_budget_is_gone() {
    let raw = receiver(1000)
        .accepted(1)
        .data(1, WINDOW + 1000)
        .times(200, |raw, i| {
            raw.accepted(3 + 2 * i).data(3 + 2 * i, WINDOW)
        })
        .goes_on();
    assert_eq!(left(&raw), 0);
}

#[test]
fn without_a_budget_there_is_the_window_alone() {
    let raw = receiver(0).accepted(1).data(1, WINDOW).goes_on();
    raw.data(1, 1).ends(FLOW_CONTROL, "");
}

#[test]
fn the_largest_budget_has_room_for_all() {
    let raw = receiver(u64::MAX).accepted(1).data(1, 5 * MIB).goes_on();
    let borrowed = (5 * MIB - WINDOW) as u64;
    assert_eq!(raw.core.stats().budget_left, u64::MAX - borrowed);
}

#[test]
fn within_the_largest_window_nothing_is_borrowed() {
    let config = Config::default().initial_window(i32::MAX as u32).unwrap();
    let raw = core(Role::Client, config.receive_budget(0), Settings::default());
    let raw = raw.opened().data(1, 20 * MIB).goes_on();
    assert_eq!(left(&raw), 0);
}

#[test]
fn a_header_alone_breaks_the_rule() {
    let raw = receiver(0).accepted(1).data(1, WINDOW);
    let header = [1, 5, 0, 0, 0, 1, 0, 1];
    raw.bytes(&header).ends(FLOW_CONTROL, "");
}

#[test]
fn what_does_not_fit_in_the_window_is_borrowed_whole_or_breaks_the_rule() {
    // A frame that begins within the window and ends a byte beyond the budget.
    let raw = receiver(10).accepted(1).data(1, WINDOW - 1);
    raw.data(1, 12).ends(FLOW_CONTROL, "");
    let raw = receiver(10).accepted(1).data(1, WINDOW - 1);
    raw.data(1, 11).goes_on();
}

#[test]
fn a_limit_counts_for_the_receiver_as_soon_as_it_says_it() {
    let mut raw = receiver(0).accepted(1).data(1, WINDOW);
    read(&mut raw, WINDOW);
    assert_eq!(credit(raw.hear()), [window(1, 2 * WINDOW)]);
    let raw = raw.data(1, WINDOW).goes_on();
    raw.data(1, 1).ends(FLOW_CONTROL, "");
}

#[test]
fn a_channel_that_was_not_accepted_has_its_window_too() {
    let raw = receiver(0).open(1).data(1, WINDOW).goes_on();
    raw.data(1, 1).ends(FLOW_CONTROL, "");
}

#[test]
fn data_after_a_stop_counts_until_its_limit() {
    // Without a budget: what the core drops it may give a WINDOW for, no more.
    let mut raw = receiver(0).accepted(1);
    let key = raw.key();
    raw.core.stop(key, 1);
    raw.hear();
    let mut limit = WINDOW;
    let mut raw = raw.data(1, WINDOW).goes_on();
    for control in raw.hear() {
        if let Control::Window { limit: to, .. } = control {
            assert!(to as usize <= 2 * WINDOW);
            limit = to as usize;
        }
    }
    assert!(limit >= WINDOW);
}

// W10: what the core sends.

#[test]
fn until_the_settings_come_their_least_values_hold() {
    let mut raw = Raw::silent(Role::Client).opened();
    assert_eq!(pour(&mut raw), WINDOW);
    let magic = DEFAULT_MAGIC;
    let mut raw = raw
        .say(Control::HelloReply { magic })
        .say(settings(&said(100_000, 0).encode()));
    assert_eq!(pour(&mut raw), 100_000 - WINDOW);
}

#[test]
fn without_a_budget_the_core_sends_its_window_and_waits() {
    let mut raw = sender(WINDOW as u32, 0);
    assert_eq!(pour(&mut raw), WINDOW);
    let mut raw = raw.say(window(1, WINDOW + HALF));
    assert_eq!(pour(&mut raw), HALF);
}

#[test]
fn a_fresh_channel_sends_its_window_and_2_mib_at_once() {
    for budget in [64 << 20, u64::MAX] {
        let mut raw = sender(WINDOW as u32, budget);
        assert_eq!(pour(&mut raw), WINDOW + 2 * MIB);
    }
}

#[test]
fn it_borrows_as_much_as_the_last_window_advised() {
    let mut raw = sender(WINDOW as u32, 64 << 20);
    let sent = pour(&mut raw);
    let mut raw = raw.say(window_with(1, sent, 4 * MIB));
    assert_eq!(pour(&mut raw), 4 * MIB);
}

#[test]
fn all_of_the_largest_window_may_be_on_its_way() {
    let raw = send(sender(i32::MAX as u32, 0), 30 * MIB);
    // Half of that window can't be given yet, so nothing can.
    raw.say(window(1, i32::MAX as usize + 30 * MIB))
        .ends(FLOW_CONTROL, "");
}

#[test]
fn beside_eight_that_nobody_reads_a_fresh_channel_borrows_2_mib() {
    let mut raw = sender(WINDOW as u32, 64 << 20);
    for i in 0..9 {
        assert_eq!(pour(&mut raw), WINDOW + 2 * MIB);
        raw = raw.accepted(3 + 2 * i);
    }
}

#[test]
fn beside_sixteen_whose_quick_readers_have_paused_a_fresh_channel_borrows_a_mib() {
    let mut raw = sender(WINDOW as u32, 64 << 20);
    let mut keys = vec![raw.key()];
    for i in 1..16 {
        raw = raw.accepted(1 + 2 * i);
        keys.push(raw.key());
    }
    let mut sent = [0; 16];
    for _ in 0..4 {
        for i in 0..16 {
            let id = 1 + 2 * i as u32;
            sent[i] += pour_into(&mut raw, id, keys[i]);
            raw = raw.say(window_with(id, sent[i] + WINDOW, 64 * MIB));
        }
    }
    // Nobody pays any more.
    loop {
        for key in &keys {
            raw.core.write(*key, &[7; WINDOW]).expect("a channel");
        }
        if data(&mut raw).is_empty() {
            break;
        }
    }
    let mut raw = raw.accepted(33);
    // The guide says 0.75 MiB, which depends on who of them came last.
    let borrows = pour(&mut raw) - WINDOW;
    assert!((3 * MIB / 4..=MIB).contains(&borrows), "{borrows}");
}

#[test]
fn beside_a_thousand_that_nobody_reads_a_channel_has_its_window_alone() {
    let mut raw = sender(WINDOW as u32, 64 << 20);
    for i in 0..1000 {
        assert!(pour(&mut raw) >= WINDOW);
        raw = raw.accepted(3 + 2 * i);
    }
    let id = 2001;
    assert_eq!(pour(&mut raw), WINDOW);
    // It gets across, half a window a round trip at the least. A frame that begins
    // within the window may end beyond it.
    let (mut limit, mut sent) = (WINDOW, WINDOW);
    for _ in 0..20 {
        limit += HALF;
        raw = raw.say(window(id, limit));
        sent += pour(&mut raw);
        assert!((limit..limit + (16 << 10)).contains(&sent));
    }
}

// W11: what a WINDOW of the peer may say.

#[test]
fn a_window_raises_the_limit_by_half_a_window_at_least() {
    let raw = send(sender(WINDOW as u32, 0), HALF).say(window(1, WINDOW + HALF));
    raw.goes_on();
    for limit in [0, 1, HALF, WINDOW, WINDOW + 1, WINDOW + HALF - 1] {
        let raw = send(sender(WINDOW as u32, 0), WINDOW).say(window(1, limit));
        raw.ends(FLOW_CONTROL, "");
    }
}

#[test]
fn a_window_raises_the_limit_to_what_was_sent_and_a_window_at_most() {
    for sent in [HALF, HALF + 1, WINDOW] {
        let raw = send(sender(WINDOW as u32, 0), sent).say(window(1, sent + WINDOW));
        raw.goes_on();
        let raw = send(sender(WINDOW as u32, 0), sent).say(window(1, sent + WINDOW + 1));
        raw.ends(FLOW_CONTROL, "");
    }
    let raw = send(sender(WINDOW as u32, 0), WINDOW).say(window(1, usize::MAX));
    raw.ends(FLOW_CONTROL, "");
    let raw = sender(WINDOW as u32, 0).say(window(1, WINDOW + HALF));
    raw.ends(FLOW_CONTROL, "");
}

#[test]
fn the_window_of_a_peer_with_a_larger_one_is_that_of_its_settings() {
    let raw = send(sender(200_000, 0), 100_000).say(window(1, 299_999));
    raw.ends(FLOW_CONTROL, "");
    let raw = send(sender(200_000, 0), 100_000).say(window(1, 300_000));
    raw.goes_on();
}

#[test]
fn a_window_of_many_windows_is_taken_where_much_was_borrowed() {
    let raw = send(sender(WINDOW as u32, 64 << 20), 2 * MIB);
    raw.say(window(1, 2 * MIB + WINDOW)).goes_on();
}

#[test]
fn a_window_for_a_channel_that_was_never_opened_ends_the_connection() {
    sender(WINDOW as u32, 0)
        .say(window(3, WINDOW + HALF))
        .ends(PROTOCOL, "");
}

#[test]
fn a_window_pays_back_what_was_borrowed_below_it() {
    let raw = send(sender(WINDOW as u32, 1 << 20), 100_000);
    let mut raw = raw.say(window(1, WINDOW + HALF));
    let key = raw.key();
    raw.core.finish(key).unwrap();
    assert!(raw.hear().contains(&fin(1, 100_000 - WINDOW - HALF)));
}

#[test]
fn a_window_that_crosses_an_end_changes_nothing() {
    let mut raw = send(sender(WINDOW as u32, 1 << 20), 100_000);
    let key = raw.key();
    raw.core.finish(key).unwrap();
    raw.core.release(key);
    assert!(raw.hear().contains(&fin(1, 100_000 - WINDOW)));
    // It may still pay all of the debt, and nothing else.
    let raw = raw.say(window(1, 100_000 + WINDOW)).goes_on();
    assert_eq!(raw.core.stats().no_op_frames, 0);
    let raw = raw.say(returned(100_000 - WINDOW)).goes_on();
    raw.say(returned(200_000)).ends(FLOW_CONTROL, "");
}

#[test]
fn windows_that_cross_the_end_of_a_channel_are_not_no_op_frames() {
    let raw = send(sender(WINDOW as u32, 1 << 20), 100_000);
    let key = raw.key();
    let mut raw = raw.say(fin(1, 0));
    raw.core.finish(key).unwrap();
    raw.core.release(key);
    raw.hear();
    let raw = raw
        .say(window(1, WINDOW + HALF))
        .say(window(1, 2 * WINDOW))
        .say(window(1, 100_000 + WINDOW))
        .say(stop(1))
        .goes_on();
    assert_eq!(raw.core.stats().no_op_frames, 0);
    // One more can't have been under way: each raises the limit by half a window.
    let raw = raw.times(3, |raw, _| raw.say(window(1, 100_000 + WINDOW)));
    assert!(raw.core.stats().no_op_frames > 0);
    raw.goes_on();
}

// W11: what the core says as a receiver.

#[test]
fn a_window_comes_at_once_without_a_budget() {
    let mut raw = receiver(0).accepted(1).data(1, HALF);
    read(&mut raw, HALF - 1);
    assert_eq!(credit(raw.hear()), []);
    read(&mut raw, 1);
    assert_eq!(credit(raw.hear()), [window(1, WINDOW + HALF)]);
}

#[test]
fn a_window_comes_after_100_ms_at_the_latest() {
    let mut raw = receiver(64 << 20).accepted(1).data(1, HALF);
    read(&mut raw, HALF);
    assert_eq!(credit(hear_for(&mut raw, 100)), [window(1, WINDOW + HALF)]);
    // Where the peer borrows.
    let mut raw = receiver(64 << 20).accepted(1).data(1, 5 * WINDOW);
    read(&mut raw, 4 * WINDOW + HALF);
    let said = credit(hear_for(&mut raw, 100));
    assert_eq!(said.last(), Some(&window(1, 5 * WINDOW + HALF)));
    assert_eq!(left(&raw), 64 << 20);
}

#[test]
fn no_window_comes_where_less_than_half_can_be_given() {
    let mut raw = receiver(64 << 20).accepted(1).data(1, WINDOW + 1000);
    read(&mut raw, HALF - 1);
    assert_eq!(credit(hear_for(&mut raw, 300)), []);
    let mut raw = receiver(64 << 20).accepted(1).data(1, WINDOW + 1000);
    assert_eq!(credit(hear_for(&mut raw, 300)), []);
}

#[test]
fn bytes_that_have_not_come_yet_were_not_read() {
    // The header of a frame of 16 KiB and a byte of it, behind half a window.
    let mut raw = receiver(0).accepted(1).data(1, HALF);
    raw = raw.bytes(&[1, 5, 0, 0, 0, 1, 0x40, 0, 7]);
    read(&mut raw, HALF + 1);
    for said in credit(raw.hear()) {
        assert_eq!(said, window(1, HALF + 1 + WINDOW));
    }
}

#[test]
fn no_channel_holds_more_than_its_window_where_there_is_no_budget() {
    const CHANNELS: usize = 100;
    const FRAME: usize = 16 << 10;
    let mut raw = receiver(0);
    for i in 0..CHANNELS as u32 {
        let id = 1 + 2 * i;
        let [.., a, b] = id.to_be_bytes();
        raw = raw.accepted(id).data(id, HALF);
        // A frame of which a byte comes, and the rest once the core has said a WINDOW.
        raw = raw.bytes(&[1, 5, 0, 0, a, b, 0x40, 0, 7]);
        read(&mut raw, HALF + 1);
        let limit = match credit(raw.hear()).pop() {
            Some(Control::Window { limit, .. }) => limit as usize,
            other => panic!("{other:?}"),
        };
        raw = raw
            .bytes(&[7; FRAME - 1])
            .data(id, limit - HALF - FRAME)
            .goes_on();
    }
    assert!(raw.core.stats().buffered <= (CHANNELS * WINDOW) as u64);
}

/// A core whose window is odd, and whose peer used more than half of it: the first
/// WINDOW's rise.
fn rise_of_an_odd_window() -> u64 {
    let window = WINDOW as u32 + 1;
    let config = Config::default().initial_window(window).unwrap();
    let raw = core(Role::Server, config.receive_budget(0), Settings::default());
    let mut raw = raw.accepted(1).data(1, WINDOW);
    for _ in 0..WINDOW {
        read(&mut raw, 1);
        if let Some(Control::Window { limit, .. }) = credit(raw.hear()).pop() {
            return limit - u64::from(window);
        }
    }
    panic!("no WINDOW");
}

#[test]
fn a_window_of_the_core_rises_by_half_of_an_odd_window_at_least() {
    assert!(2 * rise_of_an_odd_window() > WINDOW as u64);
}

#[test]
fn a_return_of_the_core_rises_by_a_quarter_of_an_odd_budget_at_least() {
    let mut raw = receiver(4003).accepted(1).data(1, WINDOW + 1000);
    raw = raw.say(fin(1, 1000));
    read(&mut raw, WINDOW + 1000);
    assert_eq!(credit(hear_for(&mut raw, 200)), []);
}

#[test]
fn nothing_is_held_of_the_budget_by_channels_that_were_read() {
    let mut raw = receiver(64 << 20);
    for i in 0..20 {
        raw = raw.accepted(1 + 2 * i).data(1 + 2 * i, MIB + i as usize);
        read(&mut raw, MIB + i as usize);
        hear_for(&mut raw, 100);
    }
    assert_eq!(left(&raw), 64 << 20);
}

// W12: what the peer says of its debts.

#[test]
fn an_end_owes_what_was_borrowed_or_more_and_the_budget_at_most() {
    for end in [fin, reset] {
        for debt in [1000, 1001, 5000] {
            let raw = receiver(5000).accepted(1).data(1, WINDOW + 1000);
            raw.say(end(1, debt)).goes_on();
        }
        for debt in [0, 999, 5001, usize::MAX] {
            let raw = receiver(5000).accepted(1).data(1, WINDOW + 1000);
            raw.say(end(1, debt)).ends(FLOW_CONTROL, "");
        }
    }
}

#[test]
fn an_end_whose_debt_and_those_of_others_exceed_the_budget_breaks_the_rule() {
    let two = || {
        receiver(5000)
            .accepted(1)
            .data(1, WINDOW + 1000)
            .accepted(3)
            .data(3, WINDOW + 3000)
    };
    two().say(fin(1, 2000)).goes_on();
    two().say(fin(1, 2001)).ends(FLOW_CONTROL, "");
}

#[test]
fn a_peer_that_never_borrows_owes_nothing() {
    let mut raw = receiver(0);
    for i in 0..50 {
        let id = 1 + 2 * i;
        raw = raw.accepted(id).data(id, WINDOW).say(fin(id, 0));
    }
    let mut raw = raw.goes_on();
    assert!(
        !raw.hear()
            .iter()
            .any(|c| matches!(c, Control::Return { .. }))
    );
}

#[test]
fn a_debt_without_a_budget_breaks_the_rule() {
    for end in [fin, reset] {
        let raw = receiver(0).accepted(1).data(1, WINDOW);
        raw.say(end(1, 1)).ends(FLOW_CONTROL, "");
    }
}

#[test]
fn a_debt_that_a_window_crossed_stays_until_a_return() {
    let mut raw = receiver(100_000).accepted(1).data(1, WINDOW + 50_000);
    read(&mut raw, WINDOW + 50_000);
    assert_eq!(
        credit(hear_for(&mut raw, 100)).last(),
        Some(&window(1, 2 * WINDOW + 50_000))
    );
    // The peer had not heard of it.
    let mut raw = raw.say(fin(1, 50_000));
    assert_eq!(credit(hear_for(&mut raw, 100)), [returned(50_000)]);
    assert_eq!(left(&raw), 100_000);
}

#[test]
fn what_an_end_owes_can_not_be_lent_again_before_a_return() {
    // Nobody reads, so nothing is paid back.
    let raw = receiver(100_000)
        .accepted(1)
        .data(1, WINDOW + 60_000)
        .say(fin(1, 60_000));
    let raw = raw.accepted(3).data(3, WINDOW + 40_000).goes_on();
    raw.data(3, 1).ends(FLOW_CONTROL, "");
}

#[test]
fn the_debts_of_many_ends_return_together() {
    let mut raw = receiver(200_000);
    let mut said = Vec::new();
    for i in 0..40 {
        let id = 1 + 2 * i;
        raw = raw.accepted(id).data(id, WINDOW + 5000).say(fin(id, 5000));
        read(&mut raw, WINDOW + 5000);
        said.extend(credit(hear_for(&mut raw, 100)));
    }
    let mut last = 0;
    for control in said {
        match control {
            Control::Return { total } => {
                assert!(total - last >= 32_768);
                last = total;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(200_000 - last < HALF as u64);
    assert_eq!(left(&raw), 200_000);
}

#[test]
fn a_small_budget_returns_by_quarters() {
    let mut raw = receiver(4000)
        .accepted(1)
        .data(1, WINDOW + 1000)
        .say(fin(1, 1000));
    read(&mut raw, WINDOW + 1000);
    assert_eq!(credit(hear_for(&mut raw, 100)), [returned(1000)]);
}

#[test]
fn what_was_reset_is_paid_back_though_nobody_reads() {
    let mut raw = receiver(100_000).accepted(1).data(1, WINDOW + 100_000);
    raw = raw.say(reset(1, 100_000));
    let key = raw.key();
    while let Ok(Read::Bytes(_)) = raw.core.read_with(key, MIB, |_| {}) {}
    raw.core.release(key);
    assert_eq!(credit(hear_for(&mut raw, 100)), [returned(100_000)]);
    let raw = raw.accepted(3).data(3, WINDOW + 100_000).goes_on();
    raw.data(3, 1).ends(FLOW_CONTROL, "");
}

#[test]
fn a_channel_of_which_the_application_lets_go_owes_nothing_for_long() {
    let mut raw = receiver(100_000).accepted(1).data(1, WINDOW + 100_000);
    let key = raw.key();
    raw.core.release(key);
    hear_for(&mut raw, 100);
    let mut raw = raw.say(reset(1, 100_000));
    assert_eq!(credit(hear_for(&mut raw, 100)), [returned(100_000)]);
    assert_eq!(left(&raw), 100_000);
}

// W12: what a RETURN of the peer may say.

/// A core whose channel has ended and owes so much.
fn debtor(budget: u64, debt: usize) -> Raw {
    let mut raw = send(sender(WINDOW as u32, budget), WINDOW + debt);
    let key = raw.key();
    raw.core.finish(key).unwrap();
    raw.core.release(key);
    assert!(raw.hear().contains(&fin(1, debt)));
    raw
}

#[test]
fn a_return_rises_by_half_a_window_at_least() {
    debtor(1 << 20, 100_000).say(returned(HALF)).goes_on();
    for total in [0, 1, HALF - 1] {
        let raw = debtor(1 << 20, 100_000).say(returned(total));
        raw.ends(FLOW_CONTROL, "");
    }
    let raw = debtor(1 << 20, 100_000).say(returned(HALF));
    raw.say(returned(2 * HALF)).goes_on();
    for total in [0, HALF, 2 * HALF - 1] {
        let raw = debtor(1 << 20, 100_000).say(returned(HALF));
        raw.say(returned(total)).ends(FLOW_CONTROL, "");
    }
}

#[test]
fn a_return_may_rise_by_a_quarter_of_a_small_budget() {
    debtor(40_000, 20_000).say(returned(10_000)).goes_on();
    let raw = debtor(40_000, 20_000).say(returned(9_999));
    raw.ends(FLOW_CONTROL, "");
}

#[test]
fn a_return_gives_back_what_is_owed_at_most() {
    debtor(1 << 20, 100_000).say(returned(100_000)).goes_on();
    for total in [100_001, usize::MAX] {
        let raw = debtor(1 << 20, 100_000).say(returned(total));
        raw.ends(FLOW_CONTROL, "");
    }
    // A channel that lives is paid by WINDOWs.
    let raw = send(sender(WINDOW as u32, 1 << 20), WINDOW + 100_000);
    raw.say(returned(50_000)).ends(FLOW_CONTROL, "");
    let raw = sender(WINDOW as u32, 0).say(returned(HALF));
    raw.ends(FLOW_CONTROL, "");
}

#[test]
fn a_return_lets_the_core_borrow_again() {
    // Three quarters are for all, and they are owed.
    let mut raw = debtor(1 << 20, 786_432).accepted(3);
    let before = pour(&mut raw) - WINDOW;
    assert!(before <= 65_536, "a quarter of what is free: {before}");
    let mut raw = raw.say(returned(786_432));
    let after = pour(&mut raw);
    assert!(
        before + after > 786_432 - (16 << 10),
        "{before} and {after}"
    );
}

#[test]
fn a_peer_that_never_returns_anything_still_gets_all() {
    let mut raw = debtor(100_000, 75_000).accepted(3);
    let mut sent = 0;
    for _ in 0..50 {
        let more = pour(&mut raw);
        assert!(more >= HALF);
        sent += more;
        raw = raw.say(window(3, sent + WINDOW));
    }
    raw.goes_on();
}

#[test]
fn a_peer_that_pays_as_late_and_as_little_as_it_may_gets_all() {
    for (size, budget) in [(WINDOW, 0), (WINDOW, 100_000), (100_000, 5000)] {
        let mut raw = sender(size as u32, budget);
        let (mut limit, mut sent) = (size, pour(&mut raw));
        for _ in 0..100 {
            raw = raw.wait(Duration::from_millis(100));
            limit += size / 2;
            raw = raw.say(window(1, limit));
            sent += pour(&mut raw);
            assert!(sent >= limit);
        }
    }
}

#[test]
fn a_download_doubles_what_is_on_its_way_with_each_round_trip() {
    let rtt = Duration::from_millis(80);
    let config = Config::default().max_channels(4096).unwrap();
    let mut link = LongLink::of(config, 1e10, rtt);
    let keys = link.open(2);
    let round_trips = link.fetch(&keys[..1], WINDOW + 2 * MIB);
    assert!(round_trips < 1.1, "{round_trips}");
    // 2, 4, 8 and 16 MiB, and half a round trip at the most for WINDOWs that come late.
    let round_trips = link.fetch(&keys[1..], 30 * MIB);
    assert!(round_trips < 5.0, "{round_trips}");
}

#[test]
fn a_reset_of_the_core_says_its_debt() {
    let mut raw = send(sender(WINDOW as u32, 1 << 20), 100_000);
    let key = raw.key();
    raw.core.reset(key, 7);
    assert!(raw.hear().contains(&reset(1, 100_000 - WINDOW)));
}

#[test]
fn a_return_of_nothing_is_no_return() {
    // A quarter of these budgets is less than a byte.
    for budget in [0, 1, 3] {
        let raw = sender(WINDOW as u32, budget).say(returned(0));
        raw.ends(FLOW_CONTROL, "");
    }
    let raw = debtor(3, 1).say(returned(1)).goes_on();
    raw.say(returned(1)).ends(FLOW_CONTROL, "");
}

#[test]
fn an_end_owes_what_was_sent_at_most() {
    // The rules say no more than that the budget bounds it.
    for end in [fin, reset] {
        for budget in [1 << 20, u64::MAX] {
            let raw = || receiver(budget).accepted(1).data(1, 200_000);
            raw().say(end(1, 200_000)).goes_on();
            raw().say(end(1, 200_001)).ends(FLOW_CONTROL, "");
            raw().say(end(1, usize::MAX)).ends(FLOW_CONTROL, "");
        }
    }
}

#[test]
fn what_comes_behind_an_end_ends_the_connection() {
    for end in [fin, reset] {
        let ended = || receiver(1000).accepted(1).say(end(1, 0));
        ended().data(1, 1).ends(PROTOCOL, "");
        ended().say(fin(1, 0)).ends(PROTOCOL, "");
        ended().say(reset(1, 0)).ends(PROTOCOL, "");
    }
}

#[test]
fn what_a_refused_channel_borrowed_comes_back() {
    let config = Config::default().receive_budget(100_000);
    let config = config.accept_backlog(1).unwrap();
    let raw = core(Role::Server, config, Settings::default());
    let mut raw = raw.open(1).open(3).data(3, WINDOW + 100_000);
    let said = raw.hear();
    assert!(
        said.iter()
            .any(|c| matches!(c, Control::Stop { channel: 3, .. }))
    );
    let mut raw = raw.say(reset(3, 100_000));
    assert_eq!(credit(hear_for(&mut raw, 100)), [returned(100_000)]);
    assert_eq!((left(&raw), idle(&raw)), (100_000, 0));
    raw.data(1, WINDOW + 100_000).goes_on();
}

// Channels that nobody reads.

#[test]
fn channels_that_nobody_reads_never_stop_another() {
    let mut raw = receiver(1 << 20);
    for i in 0..100 {
        raw = raw.accepted(1 + 2 * i).data(1 + 2 * i, WINDOW);
    }
    let mut raw = raw.data(1, MIB).accepted(201);
    let (mut limit, mut sent) = (WINDOW, 0);
    for _ in 0..50 {
        raw = raw.data(201, limit - sent);
        read(&mut raw, limit - sent);
        sent = limit;
        match credit(hear_for(&mut raw, 100)).last() {
            Some(Control::Window {
                channel: 201,
                limit: to,
                ..
            }) => limit = *to as usize,
            other => panic!("{other:?}"),
        }
    }
    assert!(sent >= 50 * HALF);
}

// Frames that change nothing.

fn idle(raw: &Raw) -> u64 {
    raw.core.stats().no_op_frames
}

/// A core of which a channel of the peer is over.
fn over() -> Raw {
    let raw = receiver(1 << 20).accepted(1).say(fin(1, 0));
    let mut raw = raw.released(0..1);
    raw.hear();
    raw
}

/// What the frame does `count` times, of which so many change nothing; and that many
/// of them end the connection.
fn changes_nothing(start: impl Fn() -> Raw, say: impl Fn(Raw) -> Raw, but: u64) {
    let mut raw = start();
    assert_eq!(idle(&raw), 0);
    for i in 1..=but + 5 {
        raw = say(raw);
        assert_eq!(idle(&raw), i.saturating_sub(but), "after {i}");
    }
    raw.goes_on();
    let raw = start().times(9_000, |raw, _| say(raw)).goes_on();
    raw.times(9_000, |raw, _| say(raw)).fails(LIMIT, "");
}

#[test]
fn an_op_that_is_skipped_changes_nothing() {
    let unknown = |raw: Raw| raw.bytes(&[1, 0x80, 0, 0, 0, 9, 0, 1, 7]);
    changes_nothing(|| receiver(0), unknown, 0);
}

#[test]
fn a_pong_that_answers_no_ping_changes_nothing() {
    let pong = |raw: Raw| raw.say(Control::Pong { token: 12_345 });
    changes_nothing(|| receiver(0), pong, 0);
}

#[test]
fn a_pong_for_a_ping_that_was_answered_changes_nothing() {
    let magic = DEFAULT_MAGIC;
    let mut raw = Raw::silent(Role::Server)
        .say(Control::Hello { magic })
        .say(settings(&said(WINDOW as u32, 0).encode()));
    let ping = |control: &Control| match control {
        Control::Ping { token } => Some(*token),
        _ => None,
    };
    let token = raw.hear().iter().find_map(ping).expect("a ping");
    let raw = raw.say(Control::Pong { token });
    assert_eq!(idle(&raw), 0);
    let raw = raw.say(Control::Pong { token });
    assert_eq!(idle(&raw), 1);
    raw.goes_on();
}

#[test]
fn a_second_drain_changes_nothing() {
    changes_nothing(|| receiver(0), |raw| raw.say(Control::Drain), 1);
}

#[test]
fn max_channels_that_does_not_rise_changes_nothing() {
    let same = |raw: Raw| raw.say(Control::MaxChannels { count: 256 });
    changes_nothing(|| receiver(0), same, 0);
}

#[test]
fn max_channels_beyond_what_the_settings_allowed_and_was_opened_changes_nothing() {
    // 256 were allowed, and none was opened.
    let raw = receiver(0).say(Control::MaxChannels { count: 257 });
    assert_eq!(idle(&raw), 1);
    let mut raw = receiver(0);
    for _ in 0..3 {
        raw = raw.opened();
    }
    let raw = raw.say(Control::MaxChannels { count: 259 });
    assert_eq!(idle(&raw), 0);
    let raw = raw.say(Control::MaxChannels { count: 260 });
    assert_eq!(idle(&raw), 1);
    raw.goes_on();
}

#[test]
fn a_second_stop_changes_nothing() {
    changes_nothing(|| receiver(0).accepted(1), |raw| raw.say(stop(1)), 1);
}

#[test]
fn ends_and_data_for_a_channel_that_is_over_break_a_rule() {
    over()
        .say(fin(1, 0))
        .fails(PROTOCOL, "its sender had ended it");
    over()
        .say(reset(1, 0))
        .fails(PROTOCOL, "its sender had ended it");
    over().data(1, 9).fails(PROTOCOL, "its sender had ended it");
}

#[test]
fn a_second_stop_for_a_channel_that_is_over_changes_nothing() {
    changes_nothing(over, |raw| raw.say(stop(1)), 1);
}

#[test]
fn a_reader_that_is_stopped_hears_of_it_and_no_rule_is_broken() {
    // The WINDOW and the STOP of a peer that cross the core's own end.
    let mut raw = send(sender(WINDOW as u32, 0), WINDOW);
    let key = raw.key();
    raw.core.finish(key).unwrap();
    raw.hear();
    let raw = raw.say(window(1, 2 * WINDOW)).say(stop(1)).goes_on();
    assert_eq!(idle(&raw), 0);
    let mut raw = send(sender(WINDOW as u32, 0), WINDOW);
    let key = raw.key();
    raw = raw.say(stop(1));
    assert_eq!(raw.core.write(key, b"x"), Err(ChannelError::Stopped(7)));
    assert!(raw.hear().contains(&reset(1, 0)));
    let raw = raw.say(window(1, 2 * WINDOW)).goes_on();
    assert_eq!(idle(&raw), 0);
}
