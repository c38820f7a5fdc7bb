//! What credit does for transfers on a long link: they take what the link needs,
//! whatever other channels did before. In round trips of 80 ms at 200 Mbit/s.

use std::time::Duration;

use crate::long_link::{LongLink, MIB, RATE, RTT};
use tcpchan::proto::{Config, Key};

const LARGE: usize = 8 * MIB;

/// The most that something may take, as a part of what it takes alone.
const SLACK: f64 = 1.05;

/// What an answer takes at least: a round trip, and its time on the link.
fn ideal(bytes: usize) -> f64 {
    1.0 + bytes as f64 / RATE / RTT.as_secs_f64()
}

/// So many channels, which have carried so much each and are kept.
fn idle(link: &mut LongLink, count: usize, bytes: usize) -> Vec<Key> {
    let mut all = Vec::new();
    while all.len() < count {
        let some = link.open(100.min(count - all.len()));
        link.fetch(&some, bytes);
        all.extend(some);
    }
    all
}

/// A fresh download and a fresh upload beside such channels take what they take
/// alone, and so does another download on one of those.
#[track_caller]
fn costs_nothing(count: usize, bytes: usize) {
    let mut alone = LongLink::new();
    let keys = alone.open(2);
    let (down, up) = (alone.fetch(&keys[..1], LARGE), alone.upload(keys[1], LARGE));
    let mut link = LongLink::new();
    let kept = idle(&mut link, count, bytes);
    let keys = link.open(2);
    let beside = (link.fetch(&keys[..1], LARGE), link.upload(keys[1], LARGE));
    println!(
        "beside {count} of {bytes}: {beside:?}, alone {:?}",
        (down, up)
    );
    assert!(
        beside.0 <= down * SLACK && beside.1 <= up * SLACK,
        "{beside:?}"
    );
    if let Some(key) = kept.first() {
        link.rest(Duration::from_secs(2));
        let rested = link.fetch(&[*key], LARGE);
        assert!(rested <= down * SLACK, "on a channel that rested: {rested}");
    }
    assert!(down <= ideal(LARGE) * SLACK, "alone: {down}");
}

#[test]
fn channels_that_carried_200_bytes_cost_others_nothing() {
    for count in [0, 50, 100, 200, 1_000] {
        costs_nothing(count, 200);
    }
}

#[test]
fn channels_that_carried_1_mib_cost_others_nothing() {
    for count in [50, 100, 200] {
        costs_nothing(count, MIB);
    }
}

#[test]
fn channels_that_carried_48_mib_cost_others_nothing() {
    costs_nothing(8, 48 * MIB);
}

/// Each answer and each upload takes what the link needs, the twelfth as the first.
#[test]
fn a_transfer_every_two_seconds_never_waits_for_credit() {
    let kib = |n: usize| n << 10;
    for bytes in [kib(64), kib(128), kib(256), kib(512), MIB, 2 * MIB] {
        let mut link = LongLink::new();
        let kept = link.open(2);
        for nth in 0..12 {
            let fresh = link.open(2);
            for keys in [&kept, &fresh] {
                let down = link.fetch(&keys[..1], bytes);
                link.rest(Duration::from_secs(2));
                let up = link.upload(keys[1], bytes) + 0.5; // it needs no answer
                link.rest(Duration::from_secs(2));
                let most = ideal(bytes) * SLACK;
                let found = (down, up, most);
                assert!(
                    down <= most && up <= most,
                    "{bytes}, the {nth}th: {found:?}"
                );
            }
            for key in fresh {
                link.client.release(key);
            }
        }
    }
}

/// A download that goes on while the way changes carries as much, after ten of the
/// new round trips, as one whose way was always so.
#[track_caller]
fn follows(rate: f64, before: Duration, after: Duration) {
    let carried = |first: Duration| {
        let mut link = LongLink::of(Config::default(), rate, first);
        let key = link.open(1)[0];
        link.ask(key, usize::MAX >> 8);
        link.rest(20 * before.max(after));
        link.becomes(after);
        link.rest(10 * after);
        let start = link.read(key);
        link.rest(10 * after);
        (link.read(key) - start) as f64
    };
    let ratio = carried(before) / carried(after);
    assert!(ratio > 0.95, "{before:?} to {after:?}: {ratio}");
}

#[test]
fn a_way_that_gets_longer_or_shorter_is_filled_again() {
    let ms = Duration::from_millis;
    follows(RATE, ms(20), ms(200));
    follows(RATE, ms(200), ms(20));
    follows(1.25e9, Duration::from_micros(100), ms(3));
    follows(1.25e9, ms(3), Duration::from_micros(100));
}

#[test]
fn beside_eight_downloads_that_nobody_reads_a_fresh_answer_leaves_at_once() {
    for unread in 1..=8 {
        let mut link = LongLink::new();
        for key in link.open(unread) {
            link.ask_unread(key, 64 * MIB);
        }
        link.rest(Duration::from_secs(5));
        let key = link.open(1);
        let took = link.fetch(&key, MIB);
        assert!(took <= ideal(MIB) * SLACK, "beside {unread}: {took}");
    }
}

/// They hold the whole budget; what is left is the window of each channel.
#[test]
fn beside_a_thousand_downloads_that_nobody_reads_a_fresh_answer_has_its_window() {
    let mut link = LongLink::new();
    let some = link.open(200);
    link.fetch(&some, 8);
    for key in link.open(1_000) {
        link.ask_unread(key, 4 * MIB);
    }
    link.rest(Duration::from_secs(10));
    let key = link.open(1);
    let took = link.fetch(&key, MIB);
    assert!(took <= 1.0 + 32.0, "half a window a round trip: {took}");
}

/// Those whose reader was quick have borrowed all but the last quarter of the budget
/// when it pauses, and of that a mebibyte each.
#[test]
fn beside_sixteen_downloads_that_paused_a_fresh_one_still_borrows() {
    let mut link = LongLink::new();
    for key in link.open(16) {
        link.fetch(&[key], 16 * MIB);
        link.ask_unread(key, 64 * MIB);
    }
    link.rest(Duration::from_secs(20));
    let key = link.open(1);
    let took = link.fetch(&key, LARGE);
    assert!(took <= 3.0 * ideal(LARGE), "{took}");
}

/// Sixteen downloads share the link, and a fresh answer beside them waits for its
/// turn on the link and for nothing else.
#[test]
fn a_fresh_answer_beside_sixteen_downloads_does_not_wait_for_credit() {
    let mut link = LongLink::new();
    let bulk = link.open(16);
    for key in &bulk {
        link.ask(*key, usize::MAX >> 8);
    }
    link.rest(Duration::from_secs(5));
    let before: Vec<usize> = bulk.iter().map(|key| link.read(*key)).collect();
    let key = link.open(1);
    let took = link.fetch(&key, MIB);
    assert!(
        took <= ideal(17 * MIB) * SLACK,
        "more than its share takes: {took}"
    );
    link.rest(Duration::from_secs(5));
    let carried = bulk
        .iter()
        .zip(&before)
        .map(|(key, before)| link.read(*key) - before);
    let (least, most) = (carried.clone().min().unwrap(), carried.max().unwrap());
    assert!(least as f64 >= 0.9 * most as f64, "{least} to {most}");
}

/// Bulk is read in small steps, and few WINDOWs say so.
#[test]
fn bulk_makes_few_window_frames() {
    for (rate, rtt) in [(RATE, RTT), (1.25e9, Duration::from_micros(100))] {
        for channels in [1, 64] {
            let mut link = LongLink::of(Config::default(), rate, rtt);
            let keys = link.open(channels);
            let took = link.fetch(&keys, 64 * MIB / channels);
            let each = link.windows() as f64 / 64.0;
            println!("{channels} channels, {rtt:?}: {each} a MiB, {took} round trips");
            assert!(each <= 32.0, "{each} WINDOWs a MiB");
        }
    }
}
