//! Credit frame by frame (W10 to W12): what a peer may send, what it must not say,
//! and what the core sends and says.

use std::time::Duration;

use crate::credit_frames::{fin, reset, returned, window, window_with};
use crate::raw::{FLOW_CONTROL, Raw};
use tcpchan::proto::{Config, Read};
use tcpchan::wire::{Control, Settings};

const WINDOW: usize = 64 << 10;
const MIB: usize = 1 << 20;

/// What the core lends in the tests of receiving, and the peer in those of sending.
const BUDGET: usize = 4 * MIB;

/// More than a WINDOW waits for others to be read.
const SOON: Duration = Duration::from_millis(100);

/// A core that lends, and a peer that has opened so many channels.
fn lends(channels: u32) -> Raw {
    let raw = Raw::client_of(Config::default().receive_budget(BUDGET as u64));
    raw.times(channels, |raw, nth| raw.accepted(2 * nth + 1))
}

/// A core that borrows from its peer, with a channel.
fn borrows() -> Raw {
    let mut settings = Settings::default();
    settings.receive_budget = BUDGET as u64;
    Raw::server_with(settings).opened()
}

/// The limits of the WINDOWs that the core said.
fn limits(heard: &[Control]) -> Vec<usize> {
    let of_window = |control: &Control| match control {
        Control::Window { limit, .. } => Some(*limit as usize),
        _ => None,
    };
    heard.iter().filter_map(of_window).collect()
}

/// Reads what there is on the channel that was got last.
fn read(raw: &mut Raw) -> usize {
    let (mut all, mut buf) = (0, [0; 1 << 14]);
    while let Ok(Read::Bytes(n)) = raw.core.read(raw.key(), &mut buf) {
        all += n;
    }
    all
}

/// Writes as much as the core takes and sends of this; how much it sent.
fn send(raw: &mut Raw, bytes: usize) -> usize {
    let (start, mut left) = (raw.core.data_sent(), bytes);
    loop {
        let before = raw.core.data_sent();
        left -= raw.core.write(raw.key(), &vec![7; left]).unwrap();
        raw.hear();
        if raw.core.data_sent() == before {
            return (before - start) as usize;
        }
    }
}

fn budget_left(raw: &Raw) -> usize {
    raw.core.stats().budget_left as usize
}

// Receiving

#[test]
fn one_channel_may_use_its_window_and_the_whole_budget() {
    let raw = lends(1).data(1, WINDOW + BUDGET).goes_on();
    assert_eq!(budget_left(&raw), 0);
    raw.data(1, 1)
        .ends(FLOW_CONTROL, "beyond the window and the budget");
}

#[test]
fn channels_share_the_budget_and_each_has_its_window() {
    let raw = lends(3).data(1, WINDOW + BUDGET / 2);
    let raw = raw.data(3, WINDOW + BUDGET / 2).data(5, WINDOW).goes_on();
    assert_eq!(budget_left(&raw), 0);
    raw.data(5, 1)
        .ends(FLOW_CONTROL, "beyond the window and the budget");
}

#[test]
fn what_was_read_is_lent_again() {
    let mut raw = lends(2).data(3, WINDOW + BUDGET);
    assert_eq!(read(&mut raw), WINDOW + BUDGET);
    let raw = raw.wait(SOON);
    assert_eq!(budget_left(&raw), BUDGET);
    raw.data(1, WINDOW + BUDGET).goes_on();
}

#[test]
fn a_window_gives_what_was_read_and_a_window_more() {
    let mut raw = lends(1).data(1, WINDOW + 1000);
    assert_eq!(read(&mut raw), WINDOW + 1000);
    raw.now += SOON;
    raw.core.handle_timeout(raw.now);
    let heard = raw.hear();
    assert_eq!(limits(&heard), [2 * WINDOW + 1000]);
}

#[test]
fn a_window_comes_once_half_of_it_can_be_given_and_not_before() {
    let mut raw = Raw::client_of(Config::default().receive_budget(0)).accepted(1);
    raw = raw.data(1, WINDOW / 2 - 1);
    read(&mut raw);
    assert!(raw.hear().is_empty());
    raw = raw.data(1, 1);
    read(&mut raw);
    assert_eq!(limits(&raw.hear()), [WINDOW + WINDOW / 2]);
}

#[test]
fn with_a_budget_a_window_waits_for_more_to_be_read_and_not_for_long() {
    let mut raw = lends(1).data(1, WINDOW);
    read(&mut raw);
    assert!(raw.hear().is_empty());
    let due = raw.core.poll_timeout().unwrap();
    assert!(due <= raw.now + SOON);
    raw.core.handle_timeout(due);
    assert_eq!(limits(&raw.hear()), [2 * WINDOW]);
}

#[test]
fn what_is_read_late_is_paid_back_at_once() {
    let mut raw = lends(1).data(1, WINDOW + MIB).wait(SOON);
    read(&mut raw);
    let heard = raw.hear();
    assert_eq!(limits(&heard), [2 * WINDOW + MIB]);
}

#[test]
fn a_reader_of_single_bytes_gives_windows_of_half_a_window() {
    let mut raw = lends(1).data(1, 3 * WINDOW).wait(SOON);
    let mut windows = 0;
    while let Ok(Read::Bytes(_)) = raw.core.read(raw.key(), &mut [0]) {
        windows += raw.hear().len();
    }
    assert!((4..=6).contains(&windows), "{windows}");
    assert_eq!(budget_left(&raw), BUDGET);
}

/// It would be forgotten: the peer is asked to stop.
#[test]
fn a_channel_that_is_read_no_more_gets_no_window() {
    let mut raw = lends(1).data(1, WINDOW + 1000);
    raw.core.stop(raw.key(), 0);
    raw.now += SOON;
    raw.core.handle_timeout(raw.now);
    let is_window = |control: &Control| matches!(control, Control::Window { .. });
    assert!(!raw.hear().iter().any(is_window));
}

#[test]
fn an_end_may_owe_what_a_window_under_way_pays_back() {
    let mut raw = lends(2).data(3, WINDOW + MIB).wait(SOON);
    assert_eq!(read(&mut raw), WINDOW + MIB);
    assert_eq!(budget_left(&raw), BUDGET);
    // The WINDOW has left, and the FIN as well.
    let raw = raw.say(fin(3, MIB));
    assert_eq!(budget_left(&raw), BUDGET);
    let mut raw = raw.goes_on();
    assert!(raw.core.poll_event().is_some());
}

#[test]
fn an_end_that_owes_less_than_was_borrowed_is_a_violation() {
    for end in [fin(1, MIB - 1), reset(1, MIB - 1), fin(1, 0), reset(1, 0)] {
        let raw = lends(1).data(1, WINDOW + MIB).say(end);
        raw.fails(FLOW_CONTROL, "another debt");
    }
}

#[test]
fn an_end_that_owes_more_than_was_sent_is_a_violation() {
    let raw = lends(1).data(1, 1000).say(fin(1, 1001));
    raw.fails(FLOW_CONTROL, "another debt");
}

#[test]
fn an_end_that_owes_more_than_the_budget_is_a_violation() {
    let mut raw = lends(2).data(1, WINDOW + BUDGET).data(3, WINDOW);
    read(&mut raw); // channel 3, so that its limit is higher
    let raw = raw.say(fin(3, 1));
    raw.fails(FLOW_CONTROL, "another debt");
}

#[test]
fn the_debt_of_a_channel_that_ended_stays_until_its_bytes_were_read() {
    for end in [fin(3, MIB), reset(3, MIB)] {
        let mut raw = lends(2).data(3, WINDOW + MIB).say(end);
        assert_eq!(budget_left(&raw), BUDGET - MIB);
        raw = raw.data(1, WINDOW + BUDGET - MIB).goes_on();
        assert_eq!(read(&mut raw), WINDOW + MIB);
        assert!(raw.hear().contains(&returned(MIB)));
        raw.data(1, MIB).goes_on();
    }
}

#[test]
fn the_debt_of_a_channel_that_ended_comes_back_when_it_is_let_go_of() {
    let raw = lends(1).data(1, WINDOW + MIB).say(fin(1, MIB));
    let mut raw = raw.released_unfinished();
    assert!(raw.hear().contains(&returned(MIB)));
    assert_eq!(budget_left(&raw), BUDGET);
}

/// A stopped channel's bytes are dropped as they come, and paid back at its end.
#[test]
fn the_debt_of_a_channel_that_was_stopped_comes_back_with_its_end() {
    let mut raw = lends(1).data(1, WINDOW);
    raw.core.stop(raw.key(), 0);
    let raw = raw.data(1, MIB);
    assert_eq!(budget_left(&raw), BUDGET - MIB);
    let mut raw = raw.say(reset(1, MIB));
    assert!(raw.hear().contains(&returned(MIB)));
    assert_eq!(budget_left(&raw), BUDGET);
}

#[test]
fn a_read_half_that_is_over_holds_no_credit_whatever_the_write_half_does() {
    let ways: [fn(Raw) -> Raw; 3] = [
        |raw| raw.say(fin(1, MIB)),
        |raw| raw.say(reset(1, MIB)),
        |mut raw| {
            raw.core.stop(raw.key(), 0);
            raw.say(reset(1, MIB))
        },
    ];
    for way in ways {
        let mut raw = way(lends(1).data(1, WINDOW + MIB));
        read(&mut raw);
        assert_eq!(budget_left(&raw), BUDGET);
        assert_eq!(raw.core.write(raw.key(), b"still"), Ok(5));
    }
}

/// Each gives back too little for a RETURN.
#[test]
fn small_debts_of_many_channels_come_back_together() {
    let least = WINDOW / 2; // half a window
    let mut raw = lends(0);
    let mut told = 0;
    for nth in 0..40 {
        let channel = 2 * nth + 1;
        raw = raw.accepted(channel).data(channel, WINDOW + 1000);
        raw = raw.say(fin(channel, 1000)).released_unfinished();
        for control in raw.hear() {
            if let Control::Return { total } = control {
                assert!(total >= told + least as u64);
                told = total;
            }
        }
    }
    assert!(told as usize > 40 * 1000 - least);
    assert_eq!(budget_left(&raw), BUDGET);
}

// Sending

#[test]
fn a_fresh_channel_sends_its_window_and_two_mebibytes_at_once() {
    assert_eq!(send(&mut borrows(), 3 * MIB), WINDOW + 2 * MIB);
}

#[test]
fn without_a_budget_a_channel_sends_its_window() {
    let mut raw = Raw::server().opened();
    assert_eq!(send(&mut raw, 3 * MIB), WINDOW);
}

#[test]
fn before_the_settings_come_a_channel_sends_the_least_window() {
    let mut raw = Raw::silent(tcpchan::proto::Role::Client).opened();
    assert_eq!(send(&mut raw, MIB), WINDOW);
}

#[test]
fn a_reader_that_reads_is_lent_more() {
    let mut raw = borrows();
    let sent = send(&mut raw, 3 * MIB);
    let mut raw = raw.say(window_with(1, sent + WINDOW, 3 * MIB));
    assert_eq!(send(&mut raw, 8 * MIB), WINDOW + 3 * MIB);
}

#[test]
fn a_channel_borrows_no_more_than_its_loan() {
    let mut raw = borrows();
    let sent = send(&mut raw, 3 * MIB);
    let mut raw = raw.say(window_with(1, sent + WINDOW, MIB));
    assert_eq!(send(&mut raw, 8 * MIB), WINDOW + MIB);
}

#[test]
fn a_reader_that_keeps_up_gets_a_larger_loan_and_one_that_does_not_a_smaller() {
    let loan = |unread: usize| {
        let mut raw = lends(1).data(1, WINDOW + 2 * MIB).wait(SOON);
        let mut buf = vec![0; WINDOW + 2 * MIB - unread];
        assert_eq!(
            raw.core.read(raw.key(), &mut buf),
            Ok(Read::Bytes(buf.len()))
        );
        let heard = raw.hear();
        let loans = heard.iter().filter_map(|control| match control {
            Control::Window { loan, .. } => Some(*loan as usize),
            _ => None,
        });
        loans.last().unwrap()
    };
    assert!(loan(0) > 4 * MIB);
    assert!(loan(MIB + WINDOW) < 2 * MIB);
}

#[test]
fn the_last_quarter_of_the_budget_is_for_small_debts() {
    let mut raw = borrows();
    let mut sent = vec![send(&mut raw, 3 * MIB)];
    for _ in 0..8 {
        raw = raw.opened();
        sent.push(send(&mut raw, 3 * MIB));
    }
    let borrowed: Vec<usize> = sent.iter().map(|sent| sent - WINDOW).collect();
    assert_eq!(borrowed[..2], [2 * MIB, MIB]);
    // Of what is free each gets a quarter.
    assert!(
        borrowed[2] <= MIB / 4 && borrowed[2] > MIB / 8,
        "{borrowed:?}"
    );
    assert!(borrowed.iter().sum::<usize>() < BUDGET, "{borrowed:?}");
    assert!(borrowed.is_sorted_by(|a, b| a >= b), "{borrowed:?}");
}

#[test]
fn a_window_of_a_byte_less_than_half_is_a_violation() {
    let half = WINDOW / 2;
    let sent = || {
        let mut raw = borrows();
        send(&mut raw, MIB);
        raw
    };
    sent().say(window(1, WINDOW + half)).goes_on();
    for limit in [0, WINDOW, WINDOW + half - 1] {
        let raw = sent().say(window(1, limit));
        raw.ends(FLOW_CONTROL, "less than half a window");
    }
}

#[test]
fn a_window_beyond_what_was_sent_and_a_window_is_a_violation() {
    let sent = || {
        let mut raw = borrows();
        assert_eq!(send(&mut raw, MIB), MIB);
        raw
    };
    sent().say(window(1, MIB + WINDOW)).goes_on();
    for limit in [MIB + WINDOW + 1, usize::MAX] {
        let raw = sent().say(window(1, limit));
        raw.ends(FLOW_CONTROL, "beyond what was sent");
    }
}

#[test]
fn an_end_says_what_is_borrowed() {
    let mut raw = borrows();
    assert_eq!(send(&mut raw, MIB), MIB);
    raw.core.finish(raw.key()).unwrap();
    assert!(raw.hear().contains(&fin(1, MIB - WINDOW)));
}

/// Else as much again could be sent on the next channel.
#[test]
fn what_a_channel_that_ended_has_borrowed_is_not_lent_again() {
    let mut raw = borrows();
    let mut borrowed = 0;
    for nth in 0..100 {
        borrowed += send(&mut raw, 2 * MIB).saturating_sub(WINDOW);
        raw.core.reset(raw.key(), 0);
        raw.core.stop(raw.key(), 0);
        raw.hear();
        let channel = 2 * nth + 1;
        raw = raw.say(fin(channel, 0)).opened();
    }
    assert!(borrowed <= BUDGET);
    let mut raw = raw.say(returned(borrowed));
    assert_eq!(send(&mut raw, 3 * MIB), WINDOW + 2 * MIB);
}

#[test]
fn a_window_that_crosses_the_end_pays_nothing_back() {
    let mut raw = borrows();
    for bytes in [2 * MIB, MIB] {
        send(&mut raw, bytes + WINDOW);
        raw.core.finish(raw.key()).unwrap();
        raw.hear();
        raw = raw.opened();
    }
    let raw = raw.say(window(1, 2 * MIB + WINDOW));
    let mut raw = raw.say(window(3, MIB + WINDOW));
    assert!(send(&mut raw, MIB) < WINDOW + MIB / 2);
}

#[test]
fn a_return_of_what_nobody_owes_is_a_violation() {
    borrows()
        .say(returned(MIB))
        .ends(FLOW_CONTROL, "of no debt");
    let mut raw = borrows();
    send(&mut raw, MIB + WINDOW);
    raw.say(returned(MIB)).ends(FLOW_CONTROL, "of no debt"); // it has not ended
}

#[test]
fn a_return_of_less_than_half_a_window_is_a_violation() {
    let ended = || {
        let mut raw = borrows();
        send(&mut raw, MIB + WINDOW);
        raw.core.finish(raw.key()).unwrap();
        raw.hear();
        raw.say(returned(WINDOW / 2)).goes_on()
    };
    ended().say(returned(WINDOW)).goes_on();
    for total in [0, WINDOW / 2, WINDOW - 1] {
        let raw = ended().say(returned(total));
        raw.fails(FLOW_CONTROL, "too little");
    }
}

#[test]
fn windows_for_a_channel_that_is_over_are_free_as_far_as_they_can_be_under_way() {
    let over = || {
        let mut raw = borrows();
        send(&mut raw, MIB);
        let raw = raw.say(fin(1, 0));
        let mut raw = raw.released(0..1);
        raw.hear();
        assert_eq!(raw.core.channels(), 0);
        raw
    };
    // Each raises by half a window, the last to what was sent and a window.
    let under_way = MIB / (WINDOW / 2);
    over()
        .times(under_way as u32, |raw, nth| {
            raw.say(window(1, WINDOW + (nth as usize + 1) * WINDOW / 2))
        })
        .goes_on();
}

/// RFC 1122, 4.2.3.4.
#[test]
fn what_is_paid_back_in_small_parts_is_not_borrowed_in_small_parts() {
    let mut raw = borrows();
    let mut sent = send(&mut raw, 3 * MIB);
    let (mut limit, mut frames) = (WINDOW, 0);
    for _ in 0..200 {
        limit += WINDOW / 2;
        if limit > sent + WINDOW {
            break;
        }
        raw = raw.say(window(1, limit));
        let before = raw.core.data_sent();
        let mut out = Vec::new();
        while raw.core.poll_transmit(&mut out, 64 << 10, raw.now) > 0 {}
        let _ = raw.core.write(raw.key(), &[7; WINDOW]).unwrap();
        while raw.core.poll_transmit(&mut out, 64 << 10, raw.now) > 0 {}
        let more = (raw.core.data_sent() - before) as usize;
        frames += out
            .windows(8)
            .filter(|w| matches!(w, [1, 5, 0, 0, 0, 1, _, _]))
            .count();
        sent += more;
    }
    assert!(
        sent > 4 * MIB && frames <= sent / (8 << 10),
        "{frames} for {sent}"
    );
}

#[test]
fn what_was_written_before_a_drop_leaves_as_far_as_the_peer_has_room() {
    let mut raw = Raw::server().opened();
    assert_eq!(raw.core.write(raw.key(), &[7; WINDOW]), Ok(WINDOW));
    let mut raw = raw.released_unfinished();
    raw.hear();
    assert_eq!(raw.core.data_sent() as usize, WINDOW);
}
