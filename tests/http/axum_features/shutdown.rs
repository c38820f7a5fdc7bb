use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use hyper::Request;
use tokio::sync::Notify;

use crate::axum_features::fixture::{acceptor, connect, http1, whole};
use crate::guard::within;

#[tokio::test]
async fn a_graceful_shutdown_waits_for_the_request_under_way() {
    let (started, finish, stop) = <(Arc<Notify>, Arc<Notify>, Arc<Notify>)>::default();
    let (begun, end) = (started.clone(), finish.clone());
    let slow = || async move {
        begun.notify_one();
        end.notified().await;
        "done"
    };
    let app = Router::new().route("/", get(slow));
    let (acceptor, addr) = acceptor().await;
    let (drain, signal) = (acceptor.drain_handle(), stop.clone());
    let signal = async move {
        signal.notified().await;
        drain.drain(Duration::from_secs(30));
        drain.drained().await;
    };
    let served = tokio::spawn(async {
        let serve = axum::serve(acceptor, app).with_graceful_shutdown(signal);
        serve.await
    });

    let connection = connect(addr).await;
    let mut sender = http1(connection.open().await.unwrap()).await;
    let response = tokio::spawn(sender.send_request(Request::new(Body::empty())));
    within(started.notified()).await;
    stop.notify_one();
    // The peer is told to open no more.
    while connection.open().await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished());
    finish.notify_one();
    let response = within(response).await.unwrap().unwrap();
    assert_eq!(whole(response.into_body()).await, "done");
    within(served).await.unwrap().unwrap();
}
