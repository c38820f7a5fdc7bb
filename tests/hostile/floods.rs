//! Each kind of flood.

use std::time::Duration;

use tcpchan::Config;
use tcpchan::proto::TOO_SLOW;
use tcpchan::wire::Control;

use crate::fixture::{FLOW_CONTROL, Heard, LIMIT, Peer, Server, is_cut_off};

/// Few enough that a slow machine's flood is one.
const RATE: u32 = 1_000;

async fn server() -> Server {
    let config = Config::default()
        .cancels_per_second(RATE)
        .and_then(|config| config.pings_per_second(RATE))
        .and_then(|config| config.no_op_frames_per_second(RATE))
        .and_then(|config| config.write_stall(Duration::from_millis(500)));
    Server::start(config.unwrap()).await
}

/// A peer with a channel says this, each time with the next number, until it
/// is cut off.
async fn floods(say: impl Fn(Peer, u32) -> Peer, code: u32, part: &str) {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await;
    server.cuts_off_flood(peer, say, code, part).await;
}

/// It opens no more than it may, and more each time that it hears so.
#[tokio::test]
async fn channels_that_are_opened_and_reset() {
    let mut server = server().await;
    let mut peer = server.peer().await;
    let (mut opened, mut allowed, mut heard) = (0, 1024, Vec::new());
    loop {
        for nth in opened..allowed {
            let channel = 2 * nth + 1;
            peer = peer.open(channel).say(Control::Reset {
                channel,
                code: 0,
                debt: 0,
            });
        }
        opened = allowed;
        peer = peer.sent().await;
        let Some(more) = peer.hears().await else {
            break;
        };
        for one in &more {
            if let Heard::Frame(Control::MaxChannels { count }) = one {
                allowed = *count;
            }
        }
        heard.extend(more);
    }
    is_cut_off(&heard, LIMIT, "cancels a second");
    server.serves_its_neighbour().await;
}

#[tokio::test]
async fn pings() {
    let ping = |peer: Peer, nth: u32| peer.say(Control::Ping { token: nth.into() });
    floods(ping, LIMIT, "pings a second").await;
}

#[tokio::test]
async fn pongs() {
    let pong = |peer: Peer, _| peer.say(Control::Pong { token: 1 << 40 });
    floods(pong, LIMIT, "no-op frames").await;
}

#[tokio::test]
async fn counts_of_channels() {
    let count = |peer: Peer, nth| peer.say(Control::MaxChannels { count: 1000 + nth });
    floods(count, LIMIT, "no-op frames").await;
}

#[tokio::test]
async fn drains() {
    floods(|peer, _| peer.say(Control::Drain), LIMIT, "no-op frames").await;
}

#[tokio::test]
async fn stops() {
    let (channel, code) = (1, 0);
    let stop = |peer: Peer, _| peer.say(Control::Stop { channel, code });
    floods(stop, LIMIT, "no-op frames").await;
}

#[tokio::test]
async fn ops_that_nobody_knows() {
    let op = |peer: Peer, _| peer.bytes(&[1, 0xFF, 0, 0, 0, 0, 0, 1, 9]);
    floods(op, LIMIT, "no-op frames").await;
}

#[tokio::test]
async fn frames_of_one_byte_that_nobody_reads() {
    let mut server = Server::start(Config::default().receive_budget(0)).await;
    // The peer grants the echo nothing, which therefore soon stops to read.
    let peer = server.peer_with_a_channel().await;
    let byte = |peer: Peer, _| peer.data(1, 1);
    server
        .cuts_off_flood(peer, byte, FLOW_CONTROL, "beyond the window")
        .await;
}

/// It reads the connection, and gives the channel no credit.
#[tokio::test]
async fn an_answer_that_is_taken_too_slowly() {
    let config = Config::default().min_rate(1 << 20, Duration::from_millis(100));
    let mut server = Server::start(config.unwrap()).await;
    let mut peer = server.peer().await.open(1).data(1, 256 << 10).sent().await;
    let mut heard = Vec::new();
    let is_reset = |heard: &Heard| matches!(heard, Heard::Frame(Control::Reset { code, .. }) if *code == TOO_SLOW);
    while !heard.iter().any(is_reset) {
        heard = peer.hears().await.expect("the connection goes on");
    }
    let error = server.channel_failed().await;
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    server.serves_its_neighbour().await;
}

/// Each of these channels is echoed, until there is no room in the system.
#[tokio::test]
async fn requests_whose_answers_nobody_reads() {
    let mut server = server().await;
    let peer = server.peer().await;
    let request = |peer: Peer, nth: u32| peer.open(2 * nth + 1).data(2 * nth + 1, 64 << 10);
    let peer = (0u32..256).fold(peer, request).sent().await;
    let error = server.channel_failed().await;
    assert!(error.to_string().contains("reads nothing"), "{error}");
    server.serves_its_neighbour().await;
    drop(peer);
}
