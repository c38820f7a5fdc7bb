//! Each kind of violation. The rest of them, over the core alone, are in
//! `proto_violations.rs`.

use std::io::ErrorKind;

use tcpchan::Config;
use tcpchan::wire::{Control, DEFAULT_MAGIC};
use tokio::io::AsyncWriteExt;

use crate::fixture::{FLOW_CONTROL, HANDSHAKE, Heard, LIMIT, PROTOCOL, Server};

async fn server() -> Server {
    Server::start(Config::default()).await
}

#[tokio::test]
async fn bytes_that_are_no_frame() {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await.bytes(b"GET / HTTP/1.1");
    server.cuts_off(peer, PROTOCOL, "first byte is 0x47").await;
}

#[tokio::test]
async fn another_protocol_from_the_start() {
    let mut server = server().await;
    let peer = server.stranger().await.bytes(b"GET / HTTP/1.1\r\n\r\n");
    server.cuts_off(peer, HANDSHAKE, "first byte is 0x47").await;
}

#[tokio::test]
async fn an_unknown_op() {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await.bytes(&[1, 0x1A]);
    server.cuts_off(peer, PROTOCOL, "unknown op 0x1a").await;
}

#[tokio::test]
async fn a_body_of_the_wrong_length() {
    let mut server = server().await;
    let window = [1, 0x10, 0, 0, 0, 1, 0, 7];
    let peer = server.peer_with_a_channel().await.bytes(&window);
    server.cuts_off(peer, PROTOCOL, "body of 7 bytes").await;
}

#[tokio::test]
async fn a_frame_that_is_too_large() {
    let mut server = server().await;
    let data = [1, 0x05, 0, 0, 0, 1, 0x40, 1];
    let peer = server.peer_with_a_channel().await.bytes(&data);
    server.cuts_off(peer, PROTOCOL, "body of 16385 bytes").await;
}

#[tokio::test]
async fn a_text_that_is_no_text() {
    let mut server = server().await;
    let go_away = [1, 0x18, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF];
    let peer = server.peer_with_a_channel().await.bytes(&go_away);
    server.cuts_off(peer, PROTOCOL, "not UTF-8").await;
}

#[tokio::test]
async fn a_frame_before_the_hello() {
    let mut server = server().await;
    let peer = server.stranger().await.open(1);
    server.cuts_off(peer, HANDSHAKE, "come first").await;
}

#[tokio::test]
async fn a_hello_of_another_magic() {
    let mut server = server().await;
    let magic = DEFAULT_MAGIC + 1;
    let peer = server.stranger().await.say(Control::Hello { magic });
    server
        .cuts_off(peer, HANDSHAKE, "the peer's magic is")
        .await;
}

#[tokio::test]
async fn settings_out_of_their_range() {
    let mut server = server().await;
    let peer = server.stranger().await;
    let magic = DEFAULT_MAGIC;
    let peer = peer
        .say(Control::Hello { magic })
        .settings(&[0, 1, 0, 4, 0, 0, 0, 1]);
    server.cuts_off(peer, HANDSHAKE, "out of its range").await;
}

#[tokio::test]
async fn a_second_hello() {
    let mut server = server().await;
    let magic = DEFAULT_MAGIC;
    let peer = server.peer_with_a_channel().await;
    let peer = peer.say(Control::Hello { magic });
    server.cuts_off(peer, PROTOCOL, "once").await;
}

#[tokio::test]
async fn second_settings() {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await.settings(&[]);
    server.cuts_off(peer, PROTOCOL, "once").await;
}

#[tokio::test]
async fn an_open_out_of_order() {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await.open(i32::MAX as u32);
    server.cuts_off(peer, PROTOCOL, "out of order").await;
}

#[tokio::test]
async fn more_channels_than_were_allowed() {
    let config = Config::default().max_channels(256).unwrap();
    let mut server = Server::start(config).await;
    let peer = server.peer().await;
    let peer = (0..257).fold(peer, |peer, nth| peer.open(2 * nth + 1));
    server.cuts_off(peer, LIMIT, "more channels").await;
}

#[tokio::test]
async fn a_frame_for_a_channel_that_never_was() {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await;
    let peer = peer.say(Control::Fin {
        channel: 5,
        debt: 0,
    });
    server.cuts_off(peer, PROTOCOL, "never opened").await;
}

#[tokio::test]
async fn data_behind_a_fin() {
    let mut server = server().await;
    let peer = server.peer().await.open(1).say(Control::Fin {
        channel: 1,
        debt: 0,
    });
    server
        .cuts_off(peer.data(1, 1), PROTOCOL, "DATA after the end")
        .await;
}

#[tokio::test]
async fn data_beyond_the_window() {
    let mut server = Server::start(Config::default().receive_budget(1 << 20)).await;
    // It grants the echo nothing, which therefore soon stops to read.
    let peer = server.peer_with_a_channel().await.data(1, 4 << 20);
    server
        .cuts_off(peer, FLOW_CONTROL, "beyond the window")
        .await;
}

#[tokio::test]
async fn a_window_of_a_byte() {
    let mut server = server().await;
    let (channel, limit) = (1, (64 << 10) + 1);
    let peer = server.peer_with_a_channel().await;
    let peer = peer.say(Control::Window {
        channel,
        limit,
        loan: 2 << 20,
    });
    server.cuts_off(peer, FLOW_CONTROL, "half a window").await;
}

#[tokio::test]
async fn a_return_of_what_nobody_owes() {
    let mut server = server().await;
    let peer = server.peer_with_a_channel().await;
    let peer = peer.say(Control::Return { total: 1 << 20 });
    server.cuts_off(peer, FLOW_CONTROL, "of no debt").await;
}

#[tokio::test]
async fn an_end_that_owes_more_than_was_sent() {
    let mut server = server().await;
    let (channel, debt) = (1, 1 << 20);
    let peer = server.peer_with_a_channel().await;
    let peer = peer.say(Control::Fin { channel, debt });
    server.cuts_off(peer, FLOW_CONTROL, "another debt").await;
}

#[tokio::test]
async fn a_frame_that_is_cut_off() {
    let mut server = server().await;
    let data = [1, 0x05, 0, 0, 0, 1, 0x40, 0, 7];
    let peer = server.peer_with_a_channel().await.bytes(&data);
    let mut peer = peer.sent().await;
    peer.io.shutdown().await.unwrap();
    let heard = peer.hears_the_end().await;
    let Some(Heard::Frame(Control::GoAway { code, text, .. })) = heard.last() else {
        panic!("no GOAWAY: {heard:?}");
    };
    assert!((*code, text.contains("within a frame")) == (PROTOCOL, true));
    let error = server.channel_failed().await;
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    server.serves_its_neighbour().await;
}
