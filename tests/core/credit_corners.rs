//! Credit where little of it is left (W10 to W12).

use crate::raw::Raw;
use tcpchan::proto::Config;
use tcpchan::wire::{Control, Frame, Settings, Version};

const WINDOW: u64 = 64 << 10;

/// The application reads, and leaves so many bytes.
fn read_but(raw: &mut Raw, left: usize) {
    let key = raw.key();
    let most = raw.core.stats().buffered as usize - left;
    raw.core.read(key, &mut vec![0; most]).unwrap();
}

/// They are in a buffer as large as the window was. Nothing was given while it was,
/// and without a budget the peer slept.
#[test]
fn a_few_unread_bytes_hold_up_no_window() {
    let config = Config::default().receive_budget(0);
    let mut raw = Raw::client_of(config).accepted(1).data(1, WINDOW as usize);
    raw.hear();
    read_but(&mut raw, 10);
    let limit = 2 * WINDOW - 10;
    let heard = raw.hear();
    let told = |control: &Control| matches!(control, Control::Window { limit: told, .. } if *told == limit);
    assert!(heard.iter().any(told), "{heard:?}");
}

#[test]
fn a_few_unread_bytes_of_a_channel_that_has_ended_hold_no_budget() {
    let debt = 1 << 20;
    let config = Config::default().receive_budget(debt);
    let mut raw = Raw::client_of(config)
        .accepted(1)
        .data(1, (WINDOW + debt) as usize)
        .say(Control::Fin { channel: 1, debt });
    raw.hear();
    read_but(&mut raw, 10);
    assert_eq!(raw.core.stats().budget_left, debt);
    assert_eq!(raw.hear(), [Control::Return { total: debt }]);
}

#[test]
fn a_few_unread_bytes_of_a_channel_that_ends_then_hold_no_budget() {
    let budget = 64 << 20;
    let config = Config::default().receive_budget(budget);
    let mut raw = Raw::client_of(config).accepted(1);
    // Two blocks that are kept, and a few bytes behind them.
    for sizes in [&[16_000; 4][..], &[16_250; 4], &[1_000]] {
        let mut bytes = Vec::new();
        for size in sizes {
            let body = &vec![7; *size];
            Frame::Data { channel: 1, body }.encode(Version::V1, &mut bytes);
        }
        raw.core.handle_block(&bytes.into(), raw.now);
    }
    read_but(&mut raw, 2_000);
    let debt = 130_000 - WINDOW;
    assert_eq!(raw.core.stats().budget_left, budget - debt);
    let raw = raw.say(Control::Fin { channel: 1, debt });
    assert_eq!(raw.core.stats().budget_left, budget);
}

/// What is paid back wakes as many as it reaches for. One that had been given up
/// took the turn of one that could send.
#[test]
fn a_channel_that_was_given_up_takes_no_turn_of_those_who_wait() {
    let mut said = Settings::default();
    said.receive_budget = 30_000;
    let mut raw = Raw::server_with(said);
    let [a, b, c] = [(); 3].map(|()| raw.core.open().unwrap());
    for (key, debt) in [(a, 15_000), (b, 14_000), (c, 14_000)] {
        for bytes in [WINDOW as usize, debt] {
            assert_eq!(raw.core.write(key, &vec![7; bytes]), Ok(bytes));
            raw.hear();
        }
    }
    let sent = raw.core.stats().bytes_sent;
    raw.core.reset(b, 1);
    let mut raw = raw.say(Control::Window {
        channel: 1,
        limit: WINDOW + 32_768,
        loan: 2 << 20,
    });
    raw.hear();
    assert!(raw.core.stats().bytes_sent > sent + 14_000);
}

/// It had waited too, and its own WINDOW gave it all that it needed.
#[test]
fn a_channel_that_pays_back_takes_no_turn_of_those_who_wait() {
    let mut said = Settings::default();
    said.receive_budget = 30_000;
    let mut raw = Raw::server_with(said);
    let [a, b] = [(); 2].map(|()| raw.core.open().unwrap());
    let window = WINDOW as usize;
    for (key, bytes) in [
        (a, window),
        (a, 15_000),
        (a, 20_000),
        (b, window),
        (b, 20_000),
    ] {
        assert_eq!(raw.core.write(key, &vec![7; bytes]), Ok(bytes));
        raw.hear();
    }
    let sent = raw.core.stats().bytes_sent;
    let limit = 2 * WINDOW + 15_000;
    raw = raw.say(Control::Window {
        channel: 1,
        limit,
        loan: 2 << 20,
    });
    raw.hear();
    assert!(raw.core.stats().bytes_sent > sent + 40_000);
}
