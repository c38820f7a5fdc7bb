//! Response bodies: what hyper's clients make of their ends. The server is
//! played by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::guard::within;
use crate::hyper_ends::fixture::{CLIENTS, Error, Far, Loss, Via, collect, listen, read_head};

// Responses of which only a part was sent.
const CONTENT_LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n";
const CLOSE_DELIMITED: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart";

type End = fn(&mut Far);

/// The serving side ends its channel; the connection goes on, or ends orderly.
const RESETS: [End; 3] = [
    |far| drop(far.channel.take()),
    |far| far.channel().reset(7),
    |far| {
        far.channel = None;
        far.connection = None;
    },
];

const LOSSES: [End; 2] = [|far| far.lose(Loss::Eof), |far| far.lose(Loss::Rst)];

/// Takes a request and writes what there is of the response.
async fn answer(listener: &TcpListener, response: &[u8]) -> Far {
    let mut far = Far::accept(listener).await;
    read_head(far.channel()).await;
    far.channel().write_all(response).await.unwrap();
    far
}

async fn whole(via: Via, addr: SocketAddr) -> Result<Bytes, Error> {
    collect(via.get(addr).await?.into_body()).await
}

/// The end comes once the client has read the part that was sent.
async fn cut_in_the_middle(via: Via, response: &str, end: End) -> Result<Bytes, Error> {
    let (listener, addr) = listen().await;
    let answer = answer(&listener, response.as_bytes());
    let (response, mut far) = tokio::join!(via.get(addr), answer);
    let mut body = response?.into_body();
    let part = body.frame().await.unwrap()?.into_data().unwrap();
    assert_eq!(part, "part");
    end(&mut far);
    collect(body).await
}

/// The end follows the part that was sent, whether that has arrived or not.
async fn cut_at_once(via: Via, response: &str, end: End) -> Result<Bytes, Error> {
    let (listener, addr) = listen().await;
    let serve = async {
        let mut far = answer(&listener, response.as_bytes()).await;
        end(&mut far);
        far
    };
    let (result, _far) = tokio::join!(whole(via, addr), serve);
    result
}

async fn is_an_error(response: &str, ends: &[End]) {
    for (i, end) in ends.iter().enumerate() {
        for via in CLIENTS {
            let result = within(cut_in_the_middle(via, response, *end)).await;
            assert!(result.is_err(), "{via:?}, end {i}: {result:?}");
            let result = within(cut_at_once(via, response, *end)).await;
            assert!(result.is_err(), "{via:?}, end {i} at once: {result:?}");
        }
    }
}

#[tokio::test]
async fn a_content_length_response_that_is_reset_is_an_error() {
    is_an_error(CONTENT_LENGTH, &RESETS).await;
}

#[tokio::test]
async fn a_chunked_response_that_is_reset_is_an_error() {
    is_an_error(CHUNKED, &RESETS).await;
}

#[tokio::test]
async fn a_close_delimited_response_that_is_reset_is_an_error() {
    is_an_error(CLOSE_DELIMITED, &RESETS).await;
}

#[tokio::test]
async fn a_content_length_response_whose_connection_is_lost_is_an_error() {
    is_an_error(CONTENT_LENGTH, &LOSSES).await;
}

#[tokio::test]
async fn a_chunked_response_whose_connection_is_lost_is_an_error() {
    is_an_error(CHUNKED, &LOSSES).await;
}

#[tokio::test]
async fn a_close_delimited_response_whose_connection_is_lost_is_an_error() {
    is_an_error(CLOSE_DELIMITED, &LOSSES).await;
}

/// What clients make of a response that ends with a clean FIN.
async fn finished(response: &[u8], check: impl Fn(Result<Bytes, Error>)) {
    for via in CLIENTS {
        let (listener, addr) = listen().await;
        let serve = async {
            let mut far = answer(&listener, response).await;
            far.channel().shutdown().await.unwrap();
            far.channel = None;
            far
        };
        let (result, _far) = within(async { tokio::join!(whole(via, addr), serve) }).await;
        check(result);
    }
}

#[tokio::test]
async fn a_close_delimited_response_that_is_finished_is_whole() {
    let check = |result: Result<Bytes, Error>| assert_eq!(result.unwrap(), "part");
    finished(CLOSE_DELIMITED.as_bytes(), check).await;
}

#[tokio::test]
async fn a_close_delimited_mebibyte_that_is_finished_is_whole() {
    let body = vec![7; 1 << 20];
    let response = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
    let check = |result: Result<Bytes, Error>| assert!(result.unwrap() == body[..]);
    finished(&response, check).await;
}

#[tokio::test]
async fn a_content_length_response_that_is_finished_too_early_is_an_error() {
    let check = |result: Result<Bytes, Error>| assert!(result.is_err(), "{result:?}");
    finished(CONTENT_LENGTH.as_bytes(), check).await;
}

#[tokio::test]
async fn a_chunked_response_that_is_finished_too_early_is_an_error() {
    let check = |result: Result<Bytes, Error>| assert!(result.is_err(), "{result:?}");
    finished(CHUNKED.as_bytes(), check).await;
}
