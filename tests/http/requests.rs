//! A service of requests, each on a channel of its own.
#![cfg(all(feature = "axum", feature = "requests", feature = "retry"))]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, OriginalUri};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tcpchan::client::{
    Multiplex, ReplayBody, RequestError, Requests, RetryLayer, RetryPolicy, is_lost, is_retryable,
};
use tcpchan::proto::{ChannelError, ConnectionError};
use tcpchan::server::PeerInfo;
use tcpchan::{Config, Connection};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::Load;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::app::serve;
use crate::guard::within;

type Client = Requests<HttpConnector>;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn at(addr: SocketAddr) -> Uri {
    Uri::try_from(format!("http://{addr}")).unwrap()
}

fn requests_to(addr: SocketAddr) -> Client {
    Requests::new(Multiplex::new(HttpConnector::new()), at(addr))
}

fn get_request(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

async fn text<S, E>(service: S, request: Request<Empty<Bytes>>) -> Result<String, E>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<hyper::body::Incoming>, Error = E>,
{
    let body = within(service.oneshot(request)).await?.into_body();
    let body = within(body.collect()).await.unwrap().to_bytes();
    Ok(String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn each_request_has_a_channel_of_its_own_on_one_connection() {
    let peer = |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
        format!("{} {}", peer.connection, peer.channel)
    };
    let requests = requests_to(serve(Router::new().route("/", get(peer))).await);
    for channel in [1, 3, 5] {
        let on = text(requests.clone(), get_request("/")).await.unwrap();
        assert_eq!(on, format!("1 {channel}"));
    }
}

#[tokio::test]
async fn a_request_has_the_form_for_an_origin_server() {
    let form = |OriginalUri(uri): OriginalUri, headers: HeaderMap| async move {
        format!("{uri} {:?}", headers["host"])
    };
    let addr = serve(Router::new().fallback(form)).await;
    let requests = requests_to(addr);
    let ask = |request| text(requests.clone(), request);
    let path_alone = ask(get_request("/path?query")).await;
    assert_eq!(path_alone.unwrap(), format!("/path?query \"{addr}\""));
    let whole = ask(get_request("http://name/path")).await;
    assert_eq!(whole.unwrap(), "/path \"name\"");
    let mut own = get_request("http://name/");
    own.headers_mut().insert("host", "own".parse().unwrap());
    assert_eq!(ask(own).await.unwrap(), "/ \"own\"");
}

/// An app whose responses end when they are told to.
async fn hanging() -> (SocketAddr, Arc<Notify>) {
    let finish = Arc::new(Notify::new());
    let end = finish.clone();
    let hang = || async move { end.notified().await };
    (serve(Router::new().route("/", get(hang))).await, finish)
}

#[tokio::test]
async fn its_load_counts_requests_to_the_end_of_their_bodies() {
    let app = Router::new().route("/", get(|| async { vec![0; 1 << 20] }));
    let requests = requests_to(serve(app).await);
    let response = requests.clone().oneshot(get_request("/"));
    let response = within(response).await.unwrap();
    assert_eq!(requests.under_way(), 1);
    within(response.into_body().collect()).await.unwrap();
    while requests.under_way() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_ends_at_the_server() {
    let (held, mut left) = mpsc::channel::<()>(1);
    let begun = Arc::new(Notify::new());
    let begins = begun.clone();
    let held = Arc::new(std::sync::Mutex::new(Some(held)));
    let hang = || async move {
        let _held = held.lock().unwrap().take();
        begins.notify_one();
        std::future::pending::<()>().await;
    };
    let requests = requests_to(serve(Router::new().route("/", get(hang))).await);
    let request = tokio::spawn(requests.oneshot(get_request("/")));
    within(begun.notified()).await;
    request.abort();
    assert_eq!(within(left.recv()).await, None);
}

type Balanced = Balance<ServiceList<[Client; 2]>, Request<Empty<Bytes>>>;

fn balance(services: [Client; 2]) -> Balanced {
    Balance::new(ServiceList::new::<Request<Empty<Bytes>>>(services))
}

#[tokio::test]
async fn the_balancer_takes_the_target_that_has_less_to_do() {
    let (busy, finish) = hanging().await;
    let idle = serve(Router::new().route("/", get(|| async { "idle" }))).await;
    let (busy, idle) = (requests_to(busy), requests_to(idle));
    let mut under_way = Vec::new();
    for _ in 0..500 {
        under_way.push(tokio::spawn(busy.clone().oneshot(get_request("/"))));
    }
    while busy.under_way() < 500 {
        tokio::task::yield_now().await;
    }
    assert!(busy.load() > idle.load());
    let mut balanced = balance([busy, idle]);
    for _ in 0..50 {
        assert_eq!(text(&mut balanced, get_request("/")).await.unwrap(), "idle");
    }
    finish.notify_waiters();
}

/// Over TCP: the system takes its connections, and nobody answers them.
#[tokio::test]
async fn a_target_that_was_never_used_is_not_cheaper_than_one_that_answers() {
    let (_mute, addr) = listen().await;
    let mute = requests_to(addr);
    let up = requests_to(serve(Router::new().route("/", get(|| async { "up" }))).await);
    text(up.clone(), get_request("/")).await.unwrap();
    assert!(mute.load() > up.load());
    let mut balanced = balance([mute, up]);
    for _ in 0..50 {
        assert_eq!(text(&mut balanced, get_request("/")).await.unwrap(), "up");
    }
}

#[tokio::test]
async fn one_that_was_never_used_is_known_by_a_dial() {
    let up = requests_to(serve(Router::new().route("/", get(|| async { "up" }))).await);
    let mut ready = up.clone();
    let unknown = up.load();
    within(std::future::poll_fn(|cx| {
        Service::<Request<Empty<Bytes>>>::poll_ready(&mut ready, cx)
    }))
    .await
    .unwrap();
    within(async {
        while up.load() >= unknown {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(up.load() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_balancer_leaves_a_target_alone_that_is_down() {
    let (listener, down) = listen().await;
    drop(listener);
    let up = serve(Router::new().route("/", get(|| async { "up" }))).await;
    let mut balanced = balance([requests_to(down), requests_to(up)]);
    let mut failed = 0;
    for _ in 0..50 {
        failed += usize::from(text(&mut balanced, get_request("/")).await.is_err());
    }
    assert!(failed <= 1, "{failed} requests failed");
}

/// A target that takes connections and hangs up on them.
async fn hangs_up() -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    addr
}

/// A target whose connections are well and whose requests fail.
async fn loses_requests() -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let connection = Connection::server(tcp, Config::default());
        while let Some(mut channel) = connection.accept().await {
            tokio::spawn(async move {
                let _ = channel.read_u8().await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn the_balancer_leaves_a_target_alone_that_takes_requests_and_loses_them() {
    for (failing, most) in [(hangs_up().await, 1), (loses_requests().await, 3)] {
        let up = serve(Router::new().route("/", get(|| async { "up" }))).await;
        let mut balanced = balance([requests_to(failing), requests_to(up)]);
        let mut failed = 0;
        for _ in 0..50 {
            failed += usize::from(text(&mut balanced, get_request("/")).await.is_err());
        }
        assert!(failed <= most, "{failed} requests failed");
    }
}

/// The body comes from a connection of its own, say, that was lost.
#[tokio::test]
async fn a_body_that_fails_is_no_failure_of_its_target() {
    let addr = serve(Router::new().route("/", post(|_: String| async { "up" }))).await;
    let mut target = Requests::new(Multiplex::new(HttpConnector::new()), at(addr));
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    sender.send_data(Bytes::from_static(b"part")).await.unwrap();
    sender.abort(ChannelError::Connection(ConnectionError::Dead).into());
    let request = Request::post("/").body(body).unwrap();
    let error = within(target.call(request)).await.unwrap_err();
    assert!(!is_lost(&error) && !is_retryable(&error), "{error:?}");
    assert!(target.load() < Duration::MAX);
}

#[tokio::test]
async fn after_a_failure_one_request_tries_a_target_before_others_do() {
    let failing = requests_to(hangs_up().await);
    text(failing.clone(), get_request("/")).await.unwrap_err();
    assert_eq!(failing.load(), Duration::MAX);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(failing.load() < Duration::MAX);
    let _one = failing.clone().call(get_request("/"));
    assert_eq!(failing.load(), Duration::MAX);
}

#[tokio::test]
async fn a_target_that_is_down_gives_an_error_that_may_be_retried() {
    let (listener, down) = listen().await;
    drop(listener);
    let error = text(requests_to(down), get_request("/")).await.unwrap_err();
    assert!(error.is_connect() && is_retryable(&error), "{error:?}");
    let cause = error.source().unwrap().source().unwrap();
    assert!(
        format!("{cause:?}").contains("ConnectionRefused"),
        "{cause:?}"
    );
}

#[tokio::test]
async fn the_retry_policy_repeats_a_refused_request() {
    let (addr, seen) = refuses_first(2).await;
    let requests = ServiceBuilder::new()
        .retry(RetryPolicy::new())
        .service(requests_to(addr));
    assert_eq!(text(requests, get_request("/")).await.unwrap(), "");
    assert_eq!(seen.load(SeqCst), 3);
}

/// The target has answered: whoever wants more than that says so in a layer of its own.
#[tokio::test]
async fn an_answer_is_never_repeated_whatever_its_status() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let answer = move || {
        counted.fetch_add(1, SeqCst);
        std::future::ready(StatusCode::SERVICE_UNAVAILABLE)
    };
    let addr = serve(Router::new().route("/", get(answer))).await;
    let policy = RetryPolicy::new().idempotent(true);
    let by_policy = ServiceBuilder::new()
        .retry(policy.clone())
        .service(requests_to(addr));
    let by_layer = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .service(requests_to(addr));
    let response = within(by_policy.oneshot(get_request("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let response = within(by_layer.oneshot(get_request("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.load(SeqCst), 2);
}

/// Of two targets one refuses each channel. The errors are tower's boxed ones.
#[tokio::test]
async fn around_a_balancer_the_retry_policy_goes_to_another_target() {
    let (listener, refusing) = listen().await;
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let connection = Connection::server(tcp, Config::default());
        while let Some(channel) = connection.accept().await {
            channel.refuse();
        }
    });
    let up = serve(Router::new().route("/", get(|| async { "up" }))).await;
    let balanced = balance([requests_to(refusing), requests_to(up)]);
    let mut service = ServiceBuilder::new()
        .retry(RetryPolicy::new())
        .buffer(8)
        .timeout(Duration::from_secs(5))
        .service(balanced);
    for _ in 0..20 {
        let response = service.ready().await.unwrap().call(get_request("/"));
        let body = within(response).await.unwrap().into_body();
        assert_eq!(within(body.collect()).await.unwrap().to_bytes(), "up");
    }
}

/// A server that refuses the first channels, and counts all; the body that it got is
/// its answer.
async fn refuses_first(refusals: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, addr) = listen().await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let connection = Connection::server(tcp, Config::default());
        while let Some(channel) = connection.accept().await {
            if counted.fetch_add(1, SeqCst) < refusals {
                channel.refuse();
                continue;
            }
            let echo = hyper::service::service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(Response::new(Full::new(body)))
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(channel, echo));
        }
    });
    (addr, seen)
}

/// A body that can't be cloned.
type Streamed = UnsyncBoxBody<Bytes, std::io::Error>;

async fn retry_streamed<S>(requests: S, body: Streamed) -> Result<Bytes, RequestError>
where
    S: Service<Request<ReplayBody<Streamed>>, Response = Response<Incoming>, Error = RequestError>,
    S: Clone,
{
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::default())
        .service(requests);
    let request = Request::post("/").body(body).unwrap();
    let body = within(service.call(request)).await?.into_body();
    Ok(within(body.collect()).await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_request_without_a_body_is_retried_whatever_its_type() {
    let (addr, seen) = refuses_first(2).await;
    let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
    assert_eq!(retry_streamed(requests_to(addr), empty).await.unwrap(), "");
    assert_eq!(seen.load(SeqCst), 3);
}

#[tokio::test]
async fn a_body_that_was_not_begun_goes_with_the_next_attempt() {
    let (addr, _) = refuses_first(0).await;
    let dials = Arc::new(AtomicUsize::new(0));
    let connector = tower::service_fn(move |_: Uri| {
        let first = dials.fetch_add(1, SeqCst) == 0;
        async move {
            match first {
                true => Err(std::io::ErrorKind::ConnectionRefused.into()),
                false => TcpStream::connect(addr).await.map(TokioIo::new),
            }
        }
    });
    let target = Uri::from_static("http://name");
    let requests = Requests::new(Multiplex::new(connector), target);
    let body = Full::<Bytes>::from("body").map_err(|never| match never {});
    assert_eq!(
        retry_streamed(requests, body.boxed_unsync()).await.unwrap(),
        "body"
    );
}

/// The peer says that nobody has seen it, but a part of the body is gone.
#[tokio::test]
async fn a_body_that_was_begun_is_not_sent_again() {
    let (addr, seen) = refuses_first(1).await;
    let body = Full::<Bytes>::from(vec![0; 1 << 20]).map_err(|never| match never {});
    let error = retry_streamed(requests_to(addr), body.boxed_unsync())
        .await
        .unwrap_err();
    assert!(!format!("{error:?}").contains("begun"), "{error:?}");
    assert_eq!(seen.load(SeqCst), 1);
}

#[tokio::test]
async fn a_response_to_head_ends_its_request() {
    let requests = requests_to(serve(Router::new().route("/", get(|| async { "hello" }))).await);
    let mut request = get_request("/");
    *request.method_mut() = Method::HEAD;
    assert_eq!(text(requests.clone(), request).await.unwrap(), "");
    while requests.under_way() > 0 {
        tokio::task::yield_now().await;
    }
}
