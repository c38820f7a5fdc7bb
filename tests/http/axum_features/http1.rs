//! The finer points of HTTP/1.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::axum_features::fixture::{channel, http1, serve, whole};
use crate::guard::within;

#[tokio::test]
async fn a_client_that_expects_it_gets_100_continue_before_it_sends_its_body() {
    let app = Router::new().route("/", post(|body: Bytes| async { body }));
    let mut channel = channel(serve(app).await).await;
    let head = "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
        expect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    channel.write_all(head.as_bytes()).await.unwrap();
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut interim = [0; 25];
    within(channel.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, expected);
    channel.write_all(b"body").await.unwrap();
    let mut response = String::new();
    within(channel.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nbody"), "{response}");
}

#[tokio::test]
async fn head_has_the_length_and_no_body_and_the_channel_goes_on() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let mut sender = http1(channel(serve(app).await).await).await;
    let head = Request::head("/").body(Body::empty()).unwrap();
    let response = within(sender.send_request(head)).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(whole(response.into_body()).await, "");
    let get = Request::new(Body::empty());
    let response = within(sender.send_request(get)).await.unwrap();
    assert_eq!(whole(response.into_body()).await, "hello");
}

/// A body of unknown length with trailers.
fn with_sum(data: &'static str) -> Body {
    let frames = [Frame::data(Bytes::from(data)), Frame::trailers(sum())];
    let frames = frames.map(Ok::<_, Infallible>);
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn sum() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())])
}

#[tokio::test]
async fn a_response_has_trailers() {
    async fn respond() -> Response {
        ([("trailer", "x-sum")], with_sum("data")).into_response()
    }
    let app = Router::new().route("/", get(respond));
    let mut sender = http1(channel(serve(app).await).await).await;
    let request = Request::get("/").header("te", "trailers");
    let response = sender.send_request(request.body(Body::empty()).unwrap());
    let body = within(response).await.unwrap().into_body();
    let body = within(body.collect()).await.unwrap();
    assert_eq!(body.trailers(), Some(&sum()));
    assert_eq!(body.to_bytes(), "data");
}

#[tokio::test]
async fn a_request_has_trailers() {
    async fn read(body: Body) -> String {
        let body = body.collect().await.unwrap();
        let sum = body.trailers().map(|trailers| trailers["x-sum"].clone());
        format!("{sum:?}")
    }
    let app = Router::new().route("/", post(read));
    let mut sender = http1(channel(serve(app).await).await).await;
    let request = Request::post("/").header("trailer", "x-sum");
    let response = sender.send_request(request.body(with_sum("data")).unwrap());
    let body = within(response).await.unwrap().into_body();
    assert_eq!(whole(body).await, "Some(\"42\")");
}
