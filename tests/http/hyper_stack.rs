//! hyper's connections on a channel, and hyper-util's client on a `Multiplex`
//! under tower's layers.
#![cfg(feature = "retry")]

use std::convert::Infallible;
use std::future::{pending, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tcpchan::client::{Multiplex, RetryPolicy, is_retryable};
use tcpchan::{Channel, Config, Connection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::trace::TraceLayer;

use crate::guard::within;

type FullBody = Full<Bytes>;

async fn two_ends() -> (Channel, Channel) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let channel = client.open().await.unwrap();
    (channel, server.accept().await.unwrap())
}

/// hyper-util's server for both versions of HTTP.
fn echo(channel: Channel) {
    let echo =
        |request: Request<Incoming>| ready(Ok::<_, Infallible>(Response::new(request.into_body())));
    tokio::spawn(async move {
        let builder = auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(channel, service_fn(echo)).await;
    });
}

async fn text<B: Body<Error: std::fmt::Debug>>(body: B) -> String {
    let body = within(body.collect()).await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

#[tokio::test]
async fn hyper_utils_auto_server_finds_http_1_on_a_channel() {
    let (near, far) = two_ends().await;
    echo(far);
    let (mut sender, connection) = http1::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(Request::new(FullBody::from("hello")));
    assert_eq!(
        text(within(response).await.unwrap().into_body()).await,
        "hello"
    );
}

#[tokio::test]
async fn hyper_utils_auto_server_finds_http_2_on_a_channel() {
    let (near, far) = two_ends().await;
    echo(far);
    let handshake = http2::handshake(TokioExecutor::new(), near);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://host/").body(FullBody::from("hello"));
    let response = sender.send_request(request.unwrap());
    assert_eq!(
        text(within(response).await.unwrap().into_body()).await,
        "hello"
    );
}

#[tokio::test]
async fn a_request_that_hyper_could_not_begin_is_retryable() {
    let (near, far) = two_ends().await;
    let (mut sender, connection) = http1::handshake::<_, FullBody>(near).await.unwrap();
    drop((connection, far));
    let error = within(sender.ready()).await.unwrap_err();
    assert!(is_retryable(&error), "{error:?}");
}

/// Gives each channel of each connection to `serve`.
async fn listen(serve: impl Fn(Channel) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _): (TcpStream, _) = listener.accept().await.unwrap();
            let connection = Connection::server(tcp, Config::default());
            let serve = serve.clone();
            tokio::spawn(async move {
                while let Some(channel) = connection.accept().await {
                    serve(channel);
                }
            });
        }
    });
    addr
}

fn client() -> Client<Multiplex<HttpConnector>, FullBody> {
    Client::builder(TokioExecutor::new()).build(Multiplex::new(HttpConnector::new()))
}

fn get(addr: SocketAddr) -> Request<FullBody> {
    let request = Request::get(format!("http://{addr}/"));
    request.body(FullBody::from("hello")).unwrap()
}

#[tokio::test]
async fn a_server_of_plain_http_is_named_in_the_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let service = tower::service_fn(|_| ready(Ok(Response::new(FullBody::default()))));
        serve_with(TokioIo::new(tcp), service);
    });
    let error = within(client().request(get(addr))).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("as of plain HTTP"),
        "{error:?}"
    );
}

/// Serves hyper's HTTP/1 with a tower service.
fn serve_with<I, S, B>(io: I, service: S)
where
    I: Read + Write + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let service = hyper_util::service::TowerToHyperService::new(service);
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
    tokio::spawn(connection);
}

#[tokio::test]
async fn a_timeout_ends_a_request_and_the_server_learns_of_it() {
    let (gone, mut left) = mpsc::channel::<()>(1);
    let hang = tower::service_fn(move |_| {
        let held = gone.clone();
        async move {
            let never: Result<Response<FullBody>, Infallible> = pending().await;
            drop(held);
            never
        }
    });
    let slot = Arc::new(std::sync::Mutex::new(Some(hang)));
    let addr = listen(move |channel| {
        if let Some(hang) = slot.lock().unwrap().take() {
            serve_with(channel, hang);
        }
    });
    let time = Duration::from_millis(100);
    let client = ServiceBuilder::new().timeout(time).service(client());
    let error = client.oneshot(get(addr.await)).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error}");
    assert_eq!(within(left.recv()).await, None);
}

#[tokio::test]
async fn a_retry_repeats_a_request_whose_channel_was_refused() {
    let refusals = Arc::new(AtomicUsize::new(2));
    let addr = listen(move |channel| {
        let refuse = refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        match refuse {
            Ok(_) => channel.refuse(),
            Err(_) => echo(channel),
        }
    });
    let policy = RetryPolicy::new();
    let client = ServiceBuilder::new().retry(policy).service(client());
    let response = within(client.oneshot(get(addr.await))).await.unwrap();
    assert_eq!(text(response.into_body()).await, "hello");
}

#[tokio::test]
async fn a_concurrency_limit_bounds_the_requests_at_the_server() {
    let (now, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let (seen, pair) = (most.clone(), Arc::new(Barrier::new(2)));
    let handler = tower::service_fn(move |_| {
        let (now, most, pair) = (now.clone(), most.clone(), pair.clone());
        async move {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            pair.wait().await; // so that it takes two at once
            now.fetch_sub(1, SeqCst);
            Ok(Response::new(FullBody::default()))
        }
    });
    let addr = listen(move |channel| serve_with(channel, handler.clone())).await;
    let client = ServiceBuilder::new().concurrency_limit(2).service(client());
    let calls = (0..20).map(|_| client.clone().oneshot(get(addr)));
    let calls = within(join_all(calls)).await;
    assert!(calls.iter().all(|call| call.is_ok()));
    assert_eq!(seen.load(SeqCst), 2);
}

#[tokio::test]
async fn tower_https_layers_decompress_and_trace() {
    let text_of = "the same again and again, ".repeat(1000);
    let body = text_of.clone();
    let respond = move |_| ready(Ok(Response::new(FullBody::from(body.clone()))));
    let sent = Arc::new(AtomicUsize::new(0));
    let (compressed, counted) = (sent.clone(), Arc::new(AtomicUsize::new(0)));
    let service = ServiceBuilder::new()
        .map_response(move |response: Response<_>| {
            let gzip = response.headers()["content-encoding"] == "gzip";
            compressed.fetch_add(gzip.into(), SeqCst);
            response
        })
        .layer(CompressionLayer::new())
        .service(tower::service_fn(respond));
    let addr = listen(move |channel| serve_with(channel, service.clone())).await;
    let traced = counted.clone();
    let trace = TraceLayer::new_for_http().on_response(
        move |response: &Response<Incoming>, _: Duration, _: &tracing::Span| {
            traced.fetch_add(response.status().is_success().into(), SeqCst);
        },
    );
    let client = ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(trace)
        .service(client());
    let response = within(client.oneshot(get(addr))).await.unwrap();
    assert_eq!(text(response.into_body()).await, text_of);
    assert_eq!((sent.load(SeqCst), counted.load(SeqCst)), (1, 1));
}
