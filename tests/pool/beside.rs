//! Beside a transfer that fills a connection of a long link, a pool has another
//! for the rest. The time is virtual.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split};
use tokio::time::sleep;

use crate::link::{Link, RTT};

type Body = BoxBody<Bytes, Infallible>;
type HttpClient = Client<Multiplex<Link>, Empty<Bytes>>;

/// A body without an end.
fn endless() -> Body {
    let piece = Bytes::from_static(&[0; 16 << 10]);
    let pieces = stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    BodyExt::boxed(StreamBody::new(pieces))
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(match request.uri().path() {
        "/endless" => endless(),
        _ => Full::new(Bytes::from("hello")).boxed(),
    }))
}

/// The end of a connection that takes 10 MB a second, in pieces that end
/// somewhere.
fn narrow(end: DuplexStream) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 << 10);
    let ((end_read, end_write), (far_read, far_write)) = (split(end), split(far));
    tokio::spawn(pump(far_read, end_write));
    tokio::spawn(pump(end_read, far_write));
    near
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut piece = [0; 10_007];
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        sleep(Duration::from_millis(1)).await;
        if to.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}

async fn serve(connection: Connection) {
    while let Some(channel) = connection.accept().await {
        let channel: Channel = channel;
        tokio::spawn(http1::Builder::new().serve_connection(channel, service_fn(answer)));
    }
}

fn client() -> (HttpClient, Link) {
    let (link, mut ends) = Link::new();
    tokio::spawn(async move {
        while let Some(end) = ends.recv().await {
            tokio::spawn(serve(Connection::server(narrow(end), Config::default())));
        }
    });
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(Multiplex::new(link.clone()));
    (client, link)
}

async fn small(client: &HttpClient) {
    let uri = Uri::from_static("http://far.example/");
    let body = client.get(uri).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test(start_paused = true)]
async fn a_small_request_beside_a_transfer_has_another_connection_dialled() {
    let (client, link) = client();
    let uri = Uri::from_static("http://far.example/endless");
    let mut body = client.get(uri).await.unwrap().into_body();
    tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    sleep(RTT * 12).await;
    assert_eq!(link.dials(), 1);
    for _ in 0..3 {
        small(&client).await;
    }
    assert_eq!(link.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn small_requests_alone_share_one_connection() {
    let (client, link) = client();
    for _ in 0..30 {
        small(&client).await;
    }
    assert_eq!(link.dials(), 1);
}
