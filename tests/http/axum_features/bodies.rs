//! Bodies that are sent while they are made.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::axum_features::fixture::{channel, http1, serve};
use crate::guard::within;

/// An app whose one response is made of the events that are sent.
async fn events() -> (mpsc::Sender<&'static str>, SocketAddr) {
    let (sender, source) = mpsc::channel(1);
    let event = |data: &str| Ok::<_, Infallible>(Event::default().data(data));
    let source = Arc::new(Mutex::new(Some(ReceiverStream::new(source).map(event))));
    let respond = || async move { Sse::new(source.lock().unwrap().take().unwrap()) };
    let addr = serve(Router::new().route("/", get(respond))).await;
    (sender, addr)
}

async fn frame(body: &mut hyper::body::Incoming) -> Bytes {
    let frame = within(body.frame()).await.unwrap().unwrap();
    frame.into_data().unwrap()
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let (events, addr) = events().await;
    let mut sender = http1(channel(addr).await).await;
    let response = within(sender.send_request(Request::new(Body::empty())));
    let mut body = response.await.unwrap().into_body();
    for data in ["one", "two"] {
        events.send(data).await.unwrap();
        assert_eq!(frame(&mut body).await, format!("data: {data}\n\n"));
    }
    drop(events);
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_body_streams_both_ways_at_once() {
    let echo = |body: Body| async { Body::from_stream(body.into_data_stream()) };
    let addr = serve(Router::new().route("/", post(echo))).await;
    let mut sender = http1(channel(addr).await).await;
    let (parts, body) = mpsc::channel::<&'static str>(1);
    let body = Body::from_stream(ReceiverStream::new(body).map(Ok::<_, Infallible>));
    let request = Request::post("/").body(body).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    let mut body = response.into_body();
    for part in ["one", "two", "three"] {
        parts.send(part).await.unwrap();
        assert_eq!(frame(&mut body).await, part);
    }
    drop(parts);
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_an_event_stream() {
    let (events, addr) = events().await;
    let mut sender = http1(channel(addr).await).await;
    let response = within(sender.send_request(Request::new(Body::empty())));
    drop(response.await.unwrap());
    drop(sender);
    within(events.closed()).await;
}
