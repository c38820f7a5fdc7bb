//! A request whose channel ends as it is sent gets an error that says that it
//! may be sent again; hyper itself may hold it for ever (hyper issue 4122).
#![cfg(feature = "client")]

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use http_body_util::channel::Channel as Parts;
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tcpchan::client::{is_lost, is_retryable};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

type Sender = SendRequest<Empty<Bytes>>;

/// A channel whose connection ends after the peer took it.
struct Doomed {
    channel: Channel,
    client: Connection,
    server: Connection,
    accepted: Channel,
}

async fn doomed() -> Doomed {
    let (near, far) = duplex(64 * 1024);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let channel = client.open().await.unwrap();
    let accepted = server.accept().await.unwrap();
    Doomed {
        channel,
        client,
        server,
        accepted,
    }
}

impl Doomed {
    /// hyper's end of the channel, which waits for a request.
    async fn hyper(self) -> (Sender, JoinHandle<hyper::Result<()>>, Doom) {
        let (mut sender, connection) = http1::handshake(self.channel).await.unwrap();
        let connection = tokio::spawn(connection);
        sender.ready().await.unwrap();
        let doom = Doom(self.client, self.server, self.accepted);
        (sender, connection, doom)
    }
}

struct Doom(Connection, Connection, Channel);

impl Doom {
    /// Ends the connection, and waits until this side knows.
    async fn comes(&self) {
        self.1.close("the server goes");
        while self.0.error().is_none() {
            sleep(SECOND / 1000).await;
        }
        sleep(SECOND / 10).await;
    }
}

fn request() -> Request<Empty<Bytes>> {
    Request::post("/").body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_fails_at_once_and_may_be_sent_again() {
    let (mut sender, connection, doom) = doomed().await.hyper().await;
    doom.comes().await;
    assert!(!connection.is_finished(), "the request could be lost");
    let since = Instant::now();
    let error = sender.send_request(request()).await.unwrap_err();
    assert!(is_retryable(&error), "{error:?}");
    assert_eq!(since.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn where_no_request_comes_the_channel_ends_within_a_second() {
    let (_sender, connection, doom) = doomed().await.hyper().await;
    let since = Instant::now();
    doom.comes().await;
    connection.await.unwrap().unwrap_err();
    assert!(since.elapsed() < SECOND * 11 / 10);
}

/// As in hyper-util's pool, where it would be handed out.
#[tokio::test(start_paused = true)]
async fn a_channel_that_was_not_used_for_long_ends_at_once() {
    let (_sender, connection, doom) = doomed().await.hyper().await;
    sleep(2 * SECOND).await;
    doom.comes().await;
    assert!(connection.is_finished());
}

#[tokio::test(start_paused = true)]
async fn where_the_request_was_sent_its_error_comes_at_once_and_it_may_have_been_done() {
    let (mut sender, _connection, mut doom) = doomed().await.hyper().await;
    let answer = tokio::spawn(sender.send_request(request()));
    doom.2.read_exact(&mut [0; 16]).await.unwrap();
    doom.comes().await;
    assert!(answer.is_finished());
    let error = answer.await.unwrap().unwrap_err();
    assert!(!is_retryable(&error) && is_lost(&error), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn other_readers_than_hypers_learn_of_the_end_at_once() {
    let mut doomed = doomed().await;
    let since = Instant::now();
    doomed.server.close("the server goes");
    let error = doomed.channel.read_u8().await.unwrap_err();
    assert!(is_lost(&error), "{error:?}");
    assert!(since.elapsed() < SECOND / 10);
}

/// The answer 101 has come, so the peer has seen the request.
#[tokio::test(start_paused = true)]
async fn an_upgrade_that_does_not_come_is_no_request_that_may_be_sent_again() {
    let (near, mut far) = duplex(64 * 1024);
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let (mut parts, body) = Parts::<Bytes, io::Error>::new(1);
    parts.send_data(Bytes::from_static(b"first")).await.unwrap();
    let request = Request::post("/").header("connection", "upgrade");
    let request = request.header("upgrade", "x").body(body).unwrap();
    let answer = b"HTTP/1.1 101 \r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let (response, ()) = tokio::join!(sender.send_request(request), async {
        far.read_u8().await.unwrap();
        far.write_all(answer).await.unwrap();
    });
    drop(far);
    let response = response.unwrap();
    let upgrade = tokio::spawn(hyper::upgrade::on(response));
    while parts.send_data(Bytes::from_static(b"more")).await.is_ok() {}
    let error = upgrade.await.unwrap().unwrap_err();
    assert!(error.is_canceled(), "{error:?}");
    assert!(is_lost(&error) && !is_retryable(&error), "{error:?}");
}
