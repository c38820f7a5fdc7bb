//! A refusal says that the application never saw a channel. It is believed only where
//! nothing shows the opposite, and said only where it is true.
#![cfg(all(feature = "server", feature = "requests"))]

use std::net::SocketAddr;

use crate::raw::{PROTOCOL, Raw};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, Requests, is_retryable};
use tcpchan::proto::{ChannelError, Key, REFUSED, Read};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::Service;

use crate::guard::within;

const fn reset(code: u32) -> Control {
    let (channel, debt) = (1, 0);
    Control::Reset {
        channel,
        code,
        debt,
    }
}

const fn stop(code: u32) -> Control {
    Control::Stop { channel: 1, code }
}

const FIN: Control = Control::Fin {
    channel: 1,
    debt: 0,
};

const WINDOW: Control = Control::Window {
    channel: 1,
    limit: 96 << 10,
    loan: 0,
};

/// A client whose channel has sent 64 KiB.
fn sent() -> Raw {
    let mut raw = Raw::server().opened();
    raw.core.write(raw.key(), &[7; 64 << 10]).unwrap();
    raw.hear();
    raw
}

/// What the channel's reader and writer are told.
fn told(raw: &mut Raw) -> [ChannelError; 2] {
    let key = raw.key();
    let mut buf = [0; 64];
    let reads = loop {
        match raw.core.read(key, &mut buf) {
            Ok(Read::Bytes(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    [reads, raw.core.write(key, b"x").unwrap_err()]
}

#[test]
fn a_refusal_of_what_nobody_touched_is_retryable_whichever_half_it_comes_for_first() {
    for frames in [
        [stop(REFUSED), reset(REFUSED)],
        [reset(REFUSED), stop(REFUSED)],
    ] {
        let mut raw = frames.into_iter().fold(sent(), Raw::say);
        for error in told(&mut raw) {
            assert_eq!(error, ChannelError::Refused(None));
            assert!(error.is_retryable());
        }
        raw.goes_on();
    }
}

#[test]
fn a_refusal_behind_a_part_of_an_answer_is_not_retryable() {
    let raw = sent().data(1, 3).say(reset(REFUSED)).say(stop(REFUSED));
    is_no_refusal(raw);
}

#[test]
fn a_refusal_behind_credit_for_what_was_read_is_not_retryable() {
    let raw = sent().say(WINDOW).say(reset(REFUSED)).say(stop(REFUSED));
    is_no_refusal(raw);
}

fn is_no_refusal(mut raw: Raw) {
    let errors = told(&mut raw);
    assert!(!errors.iter().any(ChannelError::is_retryable), "{errors:?}");
    let [read, written] = errors;
    assert_eq!(read, ChannelError::Reset(REFUSED));
    assert_eq!(written, ChannelError::Stopped(REFUSED));
    assert_eq!(raw.core.stats().refused_by_peer, 0);
    raw.goes_on();
}

#[test]
fn a_stop_behind_the_clean_end_of_an_answer_is_no_refusal() {
    let mut raw = sent().say(FIN).say(stop(REFUSED));
    let error = raw.core.write(raw.key(), b"x").unwrap_err();
    assert_eq!(error, ChannelError::Stopped(REFUSED));
    raw.goes_on();
}

#[test]
fn what_was_answered_or_read_is_not_refused_by_a_goaway() {
    for acts in [
        |raw: Raw| raw.data(1, 3),
        |raw: Raw| raw.say(WINDOW),
        |raw: Raw| raw.say(FIN),
    ] {
        let (last, code, text) = (0, 0, "bye".to_owned());
        let mut raw = acts(sent()).say(Control::GoAway { last, code, text });
        let error = raw.core.write(raw.key(), b"x").unwrap_err();
        assert!(matches!(error, ChannelError::Connection(_)), "{error:?}");
    }
}

#[test]
fn a_peer_that_uses_what_it_refused_breaks_the_protocol() {
    sent()
        .say(stop(REFUSED))
        .data(1, 3)
        .ends(PROTOCOL, "DATA after a refusal");
    sent()
        .say(stop(REFUSED))
        .say(FIN)
        .ends(PROTOCOL, "FIN after a refusal");
    let raw = sent().say(stop(REFUSED)).say(WINDOW);
    raw.ends(PROTOCOL, "WINDOW after a refusal");
}

/// What a server says that does this to a channel and then refuses it.
fn refuses_after(act: impl FnOnce(&mut Raw, Key)) -> Vec<Control> {
    let mut raw = Raw::client().accepted(1).data(1, 3);
    let key = raw.key();
    act(&mut raw, key);
    raw.core.reset(key, REFUSED);
    let read = raw.core.read(key, &mut [0; 9]);
    let mut said = raw.hear();
    said.retain(|control| matches!(control, Control::Reset { .. } | Control::Stop { .. }));
    if said.contains(&reset(REFUSED)) {
        assert_eq!(
            read,
            Err(ChannelError::Ended),
            "it was refused, and can be read"
        );
    }
    said
}

#[test]
fn a_channel_that_the_application_did_not_begin_with_is_refused_whole() {
    let said = refuses_after(|_, _| {});
    assert_eq!(said, [stop(REFUSED), reset(REFUSED)]);
}

#[test]
fn a_channel_that_was_read_from_is_not_said_to_be_refused() {
    let said = refuses_after(|raw, key| {
        raw.core.read(key, &mut [0; 1]).unwrap();
    });
    assert_eq!(said, [reset(0)]);
}

#[test]
fn a_channel_that_was_written_to_is_not_said_to_be_refused() {
    let said = refuses_after(|raw, key| {
        raw.core.write(key, b"x").unwrap();
    });
    assert_eq!(said, [reset(0)]);
}

#[test]
fn who_opened_a_channel_cannot_refuse_it() {
    let mut raw = Raw::server().opened();
    raw.core.reset(raw.key(), REFUSED);
    assert_eq!(raw.hear(), [reset(0)]);
}

#[test]
fn a_stop_alone_refuses_nothing() {
    let mut raw = Raw::client().accepted(1);
    raw.core.stop(raw.key(), REFUSED);
    assert_eq!(raw.hear(), [stop(0)]);
}

/// The kind of the error that a client reads when the server does this.
async fn client_sees(act: impl AsyncFnOnce(Channel)) -> ChannelError {
    let (near, far) = tokio::io::duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"question").await.unwrap();
    act(server.accept().await.unwrap()).await;
    let error = within(channel.read_u8()).await.unwrap_err();
    let error = error.get_ref().unwrap().downcast_ref::<ChannelError>();
    error.unwrap().clone()
}

#[tokio::test]
async fn a_server_that_refuses_at_once_refuses() {
    let error = client_sees(async |channel| channel.refuse()).await;
    assert_eq!(error, ChannelError::Refused(None));
}

#[tokio::test]
async fn a_server_that_has_read_only_resets() {
    let read = async |mut channel: Channel| {
        channel.read_u8().await.unwrap();
        channel.refuse();
    };
    assert_eq!(client_sees(read).await, ChannelError::Reset(0));
}

/// A server, played by frames, that answers a part of a request and then refuses it.
async fn answers_and_refuses(listener: TcpListener) {
    let (mut tcp, _) = listener.accept().await.unwrap();
    let body = Settings::default().encode();
    let hello = [
        Control::HelloReply {
            magic: DEFAULT_MAGIC,
        },
        Control::Settings { body },
    ];
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc";
    let frames = hello.into_iter().map(Frame::Control).chain([
        Frame::Data {
            channel: 1,
            body: head,
        },
        Frame::Control(reset(REFUSED)),
        Frame::Control(stop(REFUSED)),
    ]);
    tcp.read_u8().await.unwrap();
    let mut bytes = Vec::new();
    frames.for_each(|frame| frame.encode(Version::V1, &mut bytes));
    tcp.write_all(&bytes).await.unwrap();
    tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await.ok();
}

#[tokio::test]
async fn a_request_that_was_answered_in_part_is_not_retryable_whatever_the_peer_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(answers_and_refuses(listener));
    let target = Uri::try_from(format!("http://{addr}")).unwrap();
    let mut requests = Requests::new(Multiplex::new(HttpConnector::new()), target);
    let request = Request::post("/").body(Full::<Bytes>::default()).unwrap();
    let error: Box<dyn std::error::Error> = match within(requests.call(request)).await {
        Ok(response) => within(response.into_body().collect())
            .await
            .unwrap_err()
            .into(),
        Err(error) => error.into(),
    };
    assert!(!is_retryable(&*error), "{error:?}");
}
