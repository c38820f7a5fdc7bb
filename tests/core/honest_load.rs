//! Peers that are busy and honest trip no guard: each load for a minute of
//! virtual time, on two cores of the default configuration.

use std::time::Duration;

use crate::pair::Pair;
use tcpchan::proto::{Config, Connection, Event, Key, Read};

const MS: Duration = Duration::from_millis(1);
const MINUTE: u32 = 60_000;

/// Two cores half a round trip apart.
fn apart(half: Duration) -> Pair {
    let mut pair = Pair::new(Config::default(), Config::default());
    (pair.up.delay, pair.down.delay) = (half, half);
    (pair.up.tells, pair.down.tells) = (true, true);
    pair.wait(4 * half);
    pair
}

fn is_well(pair: &Pair) {
    assert_eq!((pair.client.error(), pair.server.error()), (None, None));
    let charged = [&pair.client, &pair.server].map(|core| core.stats().no_op_frames);
    assert_eq!(charged, [0, 0]);
}

/// Reads what is there; whether more can come.
fn read_on(core: &mut Connection, key: Key) -> bool {
    let mut buf = [0; 1 << 14];
    loop {
        match core.read(key, &mut buf) {
            Ok(Read::Bytes(_)) => {}
            Ok(Read::Blocked) => return true,
            _ => return false,
        }
    }
}

#[test]
fn a_thousand_cancels_a_second() {
    let mut pair = apart(40 * MS);
    for _ in 0..MINUTE {
        let key = pair.client.open().expect("room for another");
        let request = b"a request that nobody waits for";
        pair.client.write(key, request).unwrap();
        pair.client.release(key);
        pair.wait(MS);
        while let Some(event) = pair.server.poll_event() {
            match event {
                Event::Acceptable => while pair.server.accept().is_some() {},
                Event::Readable(key) if !read_on(&mut pair.server, key) => {
                    pair.server.release(key);
                }
                _ => {}
            }
        }
    }
    is_well(&pair);
    assert!(pair.server.stats().accepted > 59_000);
}

#[test]
fn three_hundred_small_replies_that_nobody_reads() {
    let mut pair = apart(40 * MS);
    let channels: Vec<Key> = (0..300).map_while(|_| pair.client.open().ok()).collect();
    for key in &channels {
        pair.client.write(*key, b"a request").unwrap();
    }
    for _ in 0..60 {
        pair.wait(1000 * MS);
        for key in std::iter::from_fn(|| pair.server.accept()).collect::<Vec<_>>() {
            pair.server.write(key, b"a reply").unwrap();
            pair.server.finish(key).unwrap();
            pair.server.release(key);
        }
    }
    is_well(&pair);
    for key in channels {
        assert!(!read_on(&mut pair.client, key));
    }
}

/// Each is a frame of its own.
#[test]
fn a_million_writes_of_one_byte() {
    let mut pair = apart(40 * MS);
    let near = pair.client.open().unwrap();
    pair.wait(40 * MS);
    let far = pair.server.accept().unwrap();
    for _ in 0..MINUTE {
        for _ in 0..17 {
            assert_eq!(pair.client.write(near, b"x"), Ok(1));
            pair.run();
        }
        pair.wait(MS);
        read_on(&mut pair.server, far);
    }
    is_well(&pair);
    assert!(pair.client.stats().bytes_sent > 9_000_000);
}

/// Both directions are as full as the link takes, with small requests beside.
#[test]
fn a_saturated_link_of_two_hundred_milliseconds() {
    let mut pair = apart(100 * MS);
    let near: Vec<Key> = (0..4).map(|_| pair.client.open().unwrap()).collect();
    pair.wait(100 * MS);
    let far: Vec<Key> = std::iter::from_fn(|| pair.server.accept()).collect();
    let bulk = [7; 64 << 10];
    for at in 0..MINUTE / 10 {
        for (near, far) in near.iter().zip(&far) {
            pair.client.write(*near, &bulk).unwrap();
            pair.server.write(*far, &bulk).unwrap();
        }
        if at % 10 == 0 {
            let small = pair.client.open().unwrap();
            pair.client.write(small, b"a request").unwrap();
            pair.client.finish(small).unwrap();
            pair.client.release(small);
        }
        pair.wait(10 * MS);
        for key in std::iter::from_fn(|| pair.server.accept()).collect::<Vec<_>>() {
            pair.server.release(key);
        }
        for (near, far) in near.iter().zip(&far) {
            read_on(&mut pair.client, *near);
            read_on(&mut pair.server, *far);
        }
    }
    is_well(&pair);
    // What the link takes on its way, ten times a second.
    let (up, down) = (pair.client.stats(), pair.server.stats());
    assert!(up.bytes_sent.min(down.bytes_sent) > 140 << 20, "{up:?}");
}
