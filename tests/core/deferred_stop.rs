//! A channel that was finished and let go of is left for the peer to end; STOP goes
//! only where the peer sends more, has no room, or has not ended it by the next ping.

use std::time::Duration;

use crate::pair::Pair;
use crate::raw::Raw;
use tcpchan::proto::{self, Role};
use tcpchan::wire::Control;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// Channels that are left for the peer to end at a time.
const MOST: usize = 1024;

/// Bytes that the peer may send on a channel of this side's.
const WINDOW: usize = (1 << 20) + (64 << 10);

const FIN: Control = Control::Fin {
    channel: 1,
    debt: 0,
};
const STOP: Control = stop(1);

const fn stop(channel: u32) -> Control {
    Control::Stop { channel, code: 0 }
}

fn stops(heard: &[Control]) -> Vec<&Control> {
    let is_stop = |control: &&Control| matches!(control, Control::Stop { .. });
    heard.iter().filter(is_stop).collect()
}

/// A server to a client that has finished its first channel and let go of it.
fn left() -> Raw {
    let mut raw = Raw::server().opened().released(0..1);
    assert_eq!(raw.hear(), [FIN]);
    raw
}

#[test]
fn where_the_peer_ends_it_neither_stop_nor_reset_is_said() {
    let mut pair = Pair::up();
    let key = pair.client.open().unwrap();
    pair.run();
    pair.client.finish(key).unwrap();
    pair.client.release(key);
    pair.run();
    assert_eq!(pair.client.channels(), 1);
    assert!(pair.read_all(Role::Server, key).1.is_ok());
    pair.server.finish(key).unwrap();
    pair.server.release(key);
    pair.run();
    assert_eq!((pair.client.channels(), pair.server.channels()), (0, 0));
    for side in [&pair.client, &pair.server] {
        let stats = side.stats();
        assert_eq!((stats.reset_by_self, stats.reset_by_peer), (0, 0));
    }
}

#[test]
fn one_whose_peer_has_ended_it_is_over_at_once() {
    let raw = Raw::server().opened().say(FIN);
    let mut raw = raw.released(0..1);
    assert_eq!(raw.hear(), [FIN]);
    assert_eq!(raw.core.channels(), 0);
}

#[test]
fn a_peer_that_sends_more_is_stopped() {
    let mut raw = left().data(1, 1);
    assert_eq!(raw.hear(), [STOP]);
    raw = raw.data(1, 1);
    assert_eq!(raw.hear(), [], "once is enough");
}

#[test]
fn a_peer_without_room_is_stopped_at_once() {
    let mut raw = Raw::server().opened().data(1, WINDOW).released(0..1);
    assert_eq!(raw.hear(), [STOP, FIN]);
}

#[test]
fn a_peer_that_was_not_told_of_room_is_stopped_at_once() {
    let mut raw = Raw::server().opened().data(1, WINDOW);
    let key = raw.key();
    raw.core.read(key, &mut [0; WINDOW]).unwrap();
    raw = raw.released(0..1);
    assert_eq!(raw.hear(), [STOP, FIN]);
}

#[test]
fn a_peer_that_does_nothing_is_stopped_with_the_next_ping() {
    let mut raw = left().say(Control::Pong { token: 1 });
    raw.now += Duration::from_secs(1);
    raw.core.handle_timeout(raw.now);
    let heard = raw.hear();
    assert!(
        matches!(heard[..], [Control::Ping { .. }, STOP]),
        "{heard:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_waits_for_no_ping() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"done").await.unwrap();
    channel.shutdown().await.unwrap();
    let mut kept = server.accept().await.unwrap();
    kept.read_to_end(&mut Vec::new()).await.unwrap();
    let since = Instant::now();
    drop((channel, client));
    assert!(server.accept().await.is_none());
    assert!(since.elapsed() < Duration::from_millis(100));
}

#[test]
fn on_a_quiet_connection_there_is_a_ping_at_once() {
    let mut raw = Raw::server().opened();
    raw.core.finish(raw.key()).unwrap();
    assert_eq!(raw.hear(), [FIN]);
    raw = raw
        .say(Control::Pong { token: 1 })
        .wait(Duration::from_secs(1));
    raw = raw.say(Control::Pong { token: 2 });
    raw.now += Duration::from_secs(5);
    raw.core.release(raw.key());
    assert!(raw.core.poll_timeout().unwrap() <= raw.now);
    raw.core.handle_timeout(raw.now);
    assert_eq!(stops(&raw.hear()), [&STOP]);
}

#[test]
fn a_side_that_drains_waits_for_no_end() {
    let mut raw = Raw::client().accepted(1).accepted(3).released(0..1);
    raw.core.drain();
    assert_eq!(stops(&raw.hear()), [&STOP]);
    raw = raw.released(0..1);
    assert_eq!(stops(&raw.hear()), [&stop(3)]);
}

#[test]
fn nobody_waits_for_the_end_of_a_peer_that_drains() {
    let mut raw = Raw::client().accepted(1).accepted(3).released(0..1);
    raw = raw.say(Control::Drain);
    assert_eq!(stops(&raw.hear()), [&STOP]);
    raw = raw.released(0..1);
    assert_eq!(stops(&raw.hear()), [&stop(3)]);
}

#[test]
fn a_peer_that_may_soon_open_no_more_is_stopped_at_once() {
    let config = proto::Config::default().max_channels(256).unwrap();
    let raw = Raw::client_of(config).times(192, |raw, i| raw.accepted(2 * i + 1));
    let mut raw = raw.released(0..1);
    assert_eq!(stops(&raw.hear()), [] as [&Control; 0]);
    raw = raw.accepted(385).released(0..1);
    assert_eq!(stops(&raw.hear()), [&stop(3)]);
}

#[test]
fn where_bytes_are_left_to_send_the_peer_is_stopped_at_once() {
    let mut raw = Raw::server().opened();
    raw.core.write(raw.key(), &[7; 64 << 10]).unwrap();
    raw.hear();
    raw.core.write(raw.key(), &[7; 1]).unwrap();
    raw = raw.released(0..1);
    assert_eq!(stops(&raw.hear()), [&STOP]);
}

/// Its own end waits behind the ping.
#[test]
fn no_stop_follows_the_peers_end() {
    let mut raw = Raw::server().opened().say(Control::Pong { token: 1 });
    raw.now += Duration::from_secs(2);
    raw = raw.released(0..1).say(FIN);
    raw.core.handle_timeout(raw.now);
    let heard = raw.hear();
    assert!(
        matches!(heard[..], [Control::Ping { .. }, FIN]),
        "{heard:?}"
    );
}

#[test]
fn of_more_than_a_thousand_the_first_is_stopped() {
    let count = MOST as u32 + 1;
    let raw = Raw::server().say(Control::MaxChannels { count });
    let mut raw = raw.times(count, |raw, _| raw.opened());
    raw = raw.released(0..MOST);
    assert_eq!(stops(&raw.hear()), [] as [&Control; 0]);
    raw = raw.released(0..1);
    assert_eq!(stops(&raw.hear()), [&STOP]);
}

#[test]
fn one_that_is_given_up_is_stopped_at_once() {
    let mut raw = Raw::server().opened().released_unfinished();
    assert_eq!(stops(&raw.hear()), [&STOP]);
}

#[test]
fn one_that_was_stopped_before_is_stopped_at_once() {
    let mut raw = Raw::server().opened();
    let key = raw.key();
    raw.core.finish(key).unwrap();
    raw.core.stop(key, 5);
    raw.core.release(key);
    assert_eq!(
        stops(&raw.hear()),
        [&Control::Stop {
            channel: 1,
            code: 5
        }]
    );
}
