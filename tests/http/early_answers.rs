//! A server that answers without reading the request's body, and ends the channel: the
//! client gets the whole answer, though it still sends.
#![cfg(all(feature = "axum", feature = "requests"))]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel as BodyChannel, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tcpchan::client::{Multiplex, Requests};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use crate::guard::within;

const ANSWER: usize = 300_000;

/// How often each kind of request is sent.
const ROUNDS: usize = 17;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = BoxBody<Bytes, Infallible>;

/// What a client sends.
#[derive(Clone, Copy, Debug)]
struct Kind {
    bytes: usize,
    chunked: bool,
    expects: bool,
}

fn kinds() -> impl Iterator<Item = Kind> {
    let sizes = [100_000, 1_000_000, 8_000_000];
    (0..12).map(move |i| Kind {
        bytes: sizes[i % 3],
        chunked: i / 3 % 2 == 1,
        expects: i / 6 == 1,
    })
}

impl Kind {
    fn request(self, addr: SocketAddr) -> Request<Body> {
        let bytes = Bytes::from(vec![7; self.bytes]);
        let body = match self.chunked {
            false => Full::new(bytes).boxed(),
            true => {
                let pieces: Vec<Bytes> = bytes.chunks(50_000).map(|p| bytes.slice_ref(p)).collect();
                let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
                BodyExt::boxed(StreamBody::new(stream::iter(frames)))
            }
        };
        let mut request = Request::post(format!("http://{addr}/"));
        if self.expects {
            request = request.header("expect", "100-continue");
        }
        request.body(body).unwrap()
    }
}

/// A server whose handler reads nothing.
async fn serve() -> SocketAddr {
    let refuse = || async { (StatusCode::PAYLOAD_TOO_LARGE, vec![9; ANSWER]) };
    let app = Router::new().route("/", post(refuse));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(listener);
    tokio::spawn(async { axum::serve(acceptor, app).await });
    addr
}

/// Sends a request; the answer must be whole.
async fn ask<S>(client: S, kind: Kind, addr: SocketAddr) -> Result<(), Error>
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error: Into<Error>>,
{
    let response = client
        .oneshot(kind.request(addr))
        .await
        .map_err(Into::into)?;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        response.into_body().collect().await?.to_bytes().len(),
        ANSWER
    );
    Ok(())
}

/// Requests of all kinds at a time.
async fn all_are_answered<S>(client: S, addr: SocketAddr)
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error: Into<Error>>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let mut tasks = JoinSet::new();
    for kind in kinds() {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                ask(client.clone(), kind, addr).await.unwrap();
            }
        });
    }
    within(tasks.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_pool_gets_the_whole_answer() {
    let addr = serve().await;
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(Multiplex::new(HttpConnector::new()));
    all_are_answered(client, addr).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_get_the_whole_answer() {
    let addr = serve().await;
    let target = Uri::try_from(format!("http://{addr}")).unwrap();
    let requests = Requests::new(Multiplex::new(HttpConnector::new()), target);
    all_are_answered(requests, addr).await;
}

/// One after another, each once the end of the channel before has come: a request that
/// is sent on that channel in the moment before fails, as over TCP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_a_pool_gets_the_whole_answer() {
    let addr = serve().await;
    let multiplex = Multiplex::new(HttpConnector::new());
    let client = Client::builder(TokioExecutor::new()).build(multiplex.clone());
    for kind in kinds() {
        for _ in 0..ROUNDS {
            within(ask(client.clone(), kind, addr)).await.unwrap();
            while multiplex.stats()[0].connections[0].channels > 0 {
                yield_now().await;
            }
        }
    }
}

/// A connection's ends, joined in memory for a clock that is paused, and a channel.
async fn pair() -> (Connection, Connection, Channel) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let channel = client.open().await.unwrap();
    (client, server, channel)
}

/// Waits until nothing more happens by itself.
async fn settle() {
    sleep(Duration::from_millis(100)).await;
}

/// What a server that is played by hand does once a request's head has come.
async fn respond<F: Future>(server: &Connection, act: impl FnOnce(Channel) -> F) {
    let mut channel = server.accept().await.unwrap();
    channel.read_u8().await.unwrap();
    act(channel).await;
}

static LONG: [u8; 100_000] = [7; 100_000];

/// Answers after it has said that it reads no more.
async fn stop_and_answer(mut channel: Channel) {
    channel.stop(0);
    settle().await;
    let head = format!("HTTP/1.1 413 Too Large\r\ncontent-length: {ANSWER}\r\n\r\n");
    channel.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..ANSWER / LONG.len() {
        channel.write_all(&LONG).await.unwrap();
        settle().await;
    }
    channel.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_begins_behind_the_stop_arrives() {
    let (_client, server, channel) = pair().await;
    tokio::spawn(async move { respond(&server, stop_and_answer).await });
    let (mut sender, connection) = http1::handshake(channel).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from(vec![7; 8_000_000]));
    let response = within(sender.send_request(Request::post("/").body(body).unwrap())).await;
    let body = within(response.unwrap().into_body().collect())
        .await
        .unwrap();
    assert_eq!(body.to_bytes().len(), ANSWER);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_all_before_it_reads_is_not_held_up() {
    let (_client, server, channel) = pair().await;
    tokio::spawn(async move { respond(&server, stop_and_answer).await });
    let (mut sender, connection) = http1::handshake(channel).await.unwrap();
    tokio::spawn(connection);
    let (mut feed, body) = BodyChannel::<Bytes, Infallible>::new(1);
    let responding = sender.send_request(Request::post("/").body(body).unwrap());
    let responding = tokio::spawn(responding);
    for _ in 0..80 {
        within(feed.send_data(Bytes::from_static(&LONG)))
            .await
            .unwrap();
    }
    drop(feed);
    let response = within(responding).await.unwrap().unwrap();
    let body = within(response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes().len(), ANSWER);
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_receiver_has_gone_fails() {
    let (_client, server, channel) = pair().await;
    tokio::spawn(async move { respond(&server, async |channel| drop(channel)).await });
    let (mut sender, connection) = http1::handshake(channel).await.unwrap();
    tokio::spawn(connection);
    let (mut feed, body) = BodyChannel::<Bytes, Infallible>::new(1);
    let responding = sender.send_request(Request::post("/").body(body).unwrap());
    let feeding = async { while feed.send_data(Bytes::from_static(&LONG)).await.is_ok() {} };
    let (response, ()) = within(async { tokio::join!(responding, feeding) }).await;
    assert!(response.is_err());
}

/// As of an upgraded connection, whose halves are apart.
#[tokio::test(start_paused = true)]
async fn a_writer_in_a_task_of_its_own_fails_once_the_end_was_read() {
    let (_client, server, channel) = pair().await;
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(channel));
    let writes = tokio::spawn(async move { while writer.write_all(&LONG).await.is_ok() {} });
    let finish = async |mut channel: Channel| {
        channel.stop(0);
        settle().await;
        channel.shutdown().await.unwrap();
    };
    tokio::join!(respond(&server, finish), async {
        within(reader.read_to_end(&mut Vec::new())).await.unwrap();
        within(writes).await.unwrap();
    });
}

/// As of an upgraded connection that only sends.
#[tokio::test(start_paused = true)]
async fn a_writer_whose_reader_takes_nothing_fails_in_the_end() {
    let (_client, server, channel) = pair().await;
    let mut io = TokioIo::new(channel);
    let greet = async |mut channel: Channel| channel.write_all(b"hello").await.unwrap();
    io.write_all(b"?").await.unwrap();
    respond(&server, greet).await;
    settle().await;
    let start = Instant::now();
    while io.write_all(&LONG).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(11));
        settle().await;
    }
    let mut greeting = [0; 5];
    io.read_exact(&mut greeting).await.unwrap();
}
