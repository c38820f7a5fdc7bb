//! Request bodies: what the handler of a hyper server makes of their ends.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::guard::within;
use crate::hyper_ends::fixture::{Body, CLIENTS, Error, Far, Loss, Via, collect, listen, raw};

/// How the client says how long its body is, and that on a raw channel.
type Framing = (&'static str, &'static str);
const CONTENT_LENGTH: Framing = ("content-length", "100");
const CHUNKED: Framing = ("transfer-encoding", "chunked");

/// What a handler saw of a request body: first a part, then all of it.
type Seen = mpsc::Receiver<Result<Bytes, Error>>;

/// Serves one channel of the next connection.
async fn serve(listener: &TcpListener) -> (Far, Seen) {
    let mut far = Far::accept(listener).await;
    let (sender, seen) = mpsc::channel(2);
    let handler = service_fn(move |request| handle(request, sender.clone()));
    let channel = far.channel.take().unwrap();
    tokio::spawn(http1::Builder::new().serve_connection(channel, handler));
    (far, seen)
}

async fn handle(
    request: Request<Incoming>,
    sees: mpsc::Sender<Result<Bytes, Error>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut body = request.into_body();
    let part = body.frame().await.unwrap().unwrap().into_data().unwrap();
    sees.send(Ok(part)).await.unwrap();
    sees.send(collect(body).await).await.unwrap();
    Ok(Response::new(Empty::new()))
}

#[derive(Clone, Copy, Debug)]
enum End {
    BodyFails,
    RequestIsDropped,
    ConnectionIsLost(Loss),
}

const RESETS: [End; 2] = [End::BodyFails, End::RequestIsDropped];
const LOSSES: [End; 2] = [
    End::ConnectionIsLost(Loss::Eof),
    End::ConnectionIsLost(Loss::Rst),
];

/// The end comes once the handler has read a part; what it sees then.
async fn cut(via: Via, (name, value): Framing, end: End) -> Result<Bytes, Error> {
    let (listener, addr) = listen().await;
    let (mut sender, body) = Body::new(1);
    let request = Request::post(format!("http://{addr}/")).header(name, value);
    let response = tokio::spawn(via.send(addr, request.body(body)?));
    sender.send_data("part".into()).await?;
    let (mut far, mut seen) = serve(&listener).await;
    assert_eq!(seen.recv().await.unwrap()?, "part");
    match end {
        End::BodyFails => sender.abort("no more".into()),
        End::RequestIsDropped => response.abort(),
        End::ConnectionIsLost(how) => far.lose(how),
    }
    seen.recv().await.unwrap()
}

async fn is_an_error(framing: Framing, ends: [End; 2]) {
    for end in ends {
        for via in CLIENTS {
            let result = within(cut(via, framing, end)).await;
            assert!(result.is_err(), "{via:?}, {end:?}: {result:?}");
        }
    }
}

#[tokio::test]
async fn a_content_length_request_that_is_reset_is_an_error() {
    is_an_error(CONTENT_LENGTH, RESETS).await;
}

#[tokio::test]
async fn a_chunked_request_that_is_reset_is_an_error() {
    is_an_error(CHUNKED, RESETS).await;
}

#[tokio::test]
async fn a_content_length_request_whose_connection_is_lost_is_an_error() {
    is_an_error(CONTENT_LENGTH, LOSSES).await;
}

#[tokio::test]
async fn a_chunked_request_whose_connection_is_lost_is_an_error() {
    is_an_error(CHUNKED, LOSSES).await;
}

/// A client that is played by hand finishes in the middle of the body.
async fn finished_too_early(head_and_part: &str) -> Result<Bytes, Error> {
    let (listener, addr) = listen().await;
    let mut channel = raw(addr).await;
    channel.write_all(head_and_part.as_bytes()).await?;
    let (_far, mut seen) = serve(&listener).await;
    assert_eq!(seen.recv().await.unwrap()?, "part");
    channel.shutdown().await?;
    seen.recv().await.unwrap()
}

#[tokio::test]
async fn a_content_length_request_that_is_finished_too_early_is_an_error() {
    let request = "POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\npart";
    let result = within(finished_too_early(request)).await;
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test]
async fn a_chunked_request_that_is_finished_too_early_is_an_error() {
    let request = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n";
    let result = within(finished_too_early(request)).await;
    assert!(result.is_err(), "{result:?}");
}
