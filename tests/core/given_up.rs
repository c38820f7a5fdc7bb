//! A channel that is given up counts once on each side, by who gave it up.

use crate::pair::Pair;
use tcpchan::proto::{Connection, Key, REFUSED};

/// Refused by this side, refused by the peer, reset by this side, reset by the peer.
fn counts(side: &Connection) -> [u64; 4] {
    let stats = side.stats();
    [
        stats.refused_by_self,
        stats.refused_by_peer,
        stats.reset_by_self,
        stats.reset_by_peer,
    ]
}

/// Two sides with a channel of the client's that the server has accepted.
fn accepted() -> (Pair, Key, Key) {
    let mut pair = Pair::up();
    let near = pair.client.open().unwrap();
    pair.client.write(near, b"ask").unwrap();
    pair.run();
    let far = pair.server.accept().unwrap();
    (pair, near, far)
}

#[track_caller]
fn ends(mut pair: Pair, near: Key, far: Key, client: [u64; 4], server: [u64; 4]) {
    pair.run();
    pair.client.release(near);
    pair.server.release(far);
    pair.run();
    assert_eq!(
        (counts(&pair.client), counts(&pair.server)),
        (client, server)
    );
}

#[test]
fn a_reset_is_its_senders() {
    let (mut pair, near, far) = accepted();
    pair.client.reset(near, 7);
    ends(pair, near, far, [0, 0, 1, 0], [0, 0, 0, 1]);
}

#[test]
fn so_is_a_release_before_the_end() {
    let (mut pair, near, far) = accepted();
    pair.server.release(far);
    ends(pair, near, far, [0, 0, 0, 1], [0, 0, 1, 0]);
}

#[test]
fn so_is_a_stop() {
    let (mut pair, near, far) = accepted();
    pair.server.stop(far, 7);
    ends(pair, near, far, [0, 0, 0, 1], [0, 0, 1, 0]);
}

#[test]
fn a_refusal_is_no_reset() {
    let (mut pair, near, far) = accepted();
    pair.server.reset(far, REFUSED);
    ends(pair, near, far, [0, 1, 0, 0], [1, 0, 0, 0]);
}

#[test]
fn a_channel_that_waits_as_its_connection_closes_is_refused() {
    let mut pair = Pair::up();
    let near = pair.client.open().unwrap();
    pair.run();
    pair.server.close("");
    pair.run();
    pair.client.release(near);
    assert_eq!(counts(&pair.client), [0, 1, 0, 0]);
    assert_eq!(counts(&pair.server), [1, 0, 0, 0]);
}

#[test]
fn a_clean_end_counts_as_neither() {
    let (mut pair, near, far) = accepted();
    pair.client.finish(near).unwrap();
    pair.server.finish(far).unwrap();
    ends(pair, near, far, [0; 4], [0; 4]);
}
