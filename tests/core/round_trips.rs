//! Round trips are measured while bytes flow, so that a connection which gets
//! slow is seen to be.

use std::time::Duration;

use tcpchan::proto::Role;

use crate::pair::Pair;

const TICK: Duration = Duration::from_millis(10);

fn delay(pair: &mut Pair, rtt: Duration) {
    (pair.up.delay, pair.down.delay) = (rtt / 2, rtt / 2);
}

/// On a channel of the client's both sides write a byte every 10 ms, and read,
/// for a minute.
fn chatter(pair: &mut Pair) {
    let near = pair.client.open().unwrap();
    pair.client.write(near, b"!").unwrap();
    pair.run();
    let far = pair.server.accept().unwrap();
    for _ in 0..6000 {
        pair.client.write(near, b"!").unwrap();
        pair.server.write(far, b"!").unwrap();
        pair.wait(TICK);
        pair.read_all(Role::Client, near).1.unwrap();
        pair.read_all(Role::Server, far).1.unwrap();
    }
}

#[test]
fn the_round_trip_time_follows_the_link_while_bytes_flow() {
    let mut pair = Pair::up();
    for rtt in [80, 200] {
        delay(&mut pair, Duration::from_millis(rtt));
        chatter(&mut pair);
        let measured = pair.client.stats().rtt.unwrap().as_millis();
        assert!(measured.abs_diff(rtt.into()) < 10, "{measured} ms");
        let shortest = pair.client.stats().min_rtt.unwrap();
        assert_eq!(shortest, Duration::from_millis(rtt));
    }
}

#[test]
fn measuring_costs_a_ping_and_a_pong_a_second_on_each_side() {
    let mut pair = Pair::up();
    delay(&mut pair, Duration::from_millis(80));
    let before = pair.client.stats().bytes_sent;
    chatter(&mut pair);
    let sent = pair.client.stats().bytes_sent - before;
    let data = 6000 * 9;
    assert!(sent < data + 61 * 2 * 16 + 100, "{}", sent - data);
}

#[test]
fn a_probe_tells_what_was_sent_before_it_and_how_long_it_took() {
    let mut pair = Pair::up();
    delay(&mut pair, Duration::from_millis(80));
    let key = pair.client.open().unwrap();
    pair.client.write(key, &[7; 5000]).unwrap();
    pair.run();
    let before = pair.client.stats().bytes_sent;
    let (now, sent) = (pair.now, pair.client.stats().bytes_sent);
    pair.client.probe(now);
    pair.client.write(key, &[7; 5000]).unwrap();
    pair.wait(Duration::from_millis(100));
    let round = pair.client.delivery_sample().unwrap();
    assert_eq!((round.sent, round.left), (sent, now));
    assert_eq!(round.answered - round.left, Duration::from_millis(80));
    assert!(pair.client.stats().bytes_sent > before + 5000);
}

#[test]
fn a_probe_while_another_is_under_way_asks_nothing() {
    let mut pair = Pair::up();
    delay(&mut pair, Duration::from_millis(80));
    let start = pair.now;
    for _ in 0..5 {
        let now = pair.now;
        pair.client.probe(now);
        pair.wait(TICK);
    }
    pair.wait(Duration::from_millis(500));
    assert_eq!(pair.client.delivery_sample().unwrap().left, start);
}
