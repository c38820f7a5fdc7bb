//! How the socket and what is on it end.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tcpchan::client::{LocalSocket, Multiplex};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tower::Service;

use super::fixture::uri;
use crate::app::serve;
use crate::guard::within;

/// How often the socket looks whether a caller is gone.
const LOOKS: Duration = Duration::from_secs(1);

/// Connects in memory when it is allowed to.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    servers: mpsc::UnboundedSender<Connection>,
}

impl Service<Uri> for Gate {
    type Response = TokioIo<DuplexStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let gate = self.clone();
        Box::pin(async move {
            gate.open.acquire().await.unwrap().forget();
            let (near, far) = duplex(64 << 10);
            let _ = gate
                .servers
                .send(Connection::server(far, Config::default()));
            Ok(TokioIo::new(near))
        })
    }
}

fn gated() -> (
    LocalSocket,
    Arc<Semaphore>,
    mpsc::UnboundedReceiver<Connection>,
) {
    let (sender, servers) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    let gate = Gate {
        open: open.clone(),
        servers: sender,
    };
    let target = Uri::from_static("http://here");
    let socket = LocalSocket::new(Multiplex::new(gate), target).unwrap();
    (socket, open, servers)
}

#[tokio::test]
async fn a_caller_that_gives_up_before_the_channel_is_there_has_sent_nothing() {
    let (socket, gate, mut servers) = gated();
    let mut given_up = UnixStream::connect(socket.path()).await.unwrap();
    given_up.write_all(b"never").await.unwrap();
    drop(given_up);
    let mut stays = UnixStream::connect(socket.path()).await.unwrap();
    stays.write_all(b"this").await.unwrap();
    // Both have been accepted, and the first is seen to be gone, once the second's answer is here.
    gate.add_permits(1);
    let server = within(servers.recv()).await.unwrap();
    let mut channel = within(server.accept()).await.unwrap();
    let mut bytes = [0; 4];
    within(channel.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"this");
}

/// The bytes that are read meanwhile are bounded, so the socket keeps the rest and its end.
#[tokio::test]
async fn nothing_of_a_large_request_that_was_given_up_is_sent() {
    let (socket, gate, mut servers) = gated();
    let mut given_up = UnixStream::connect(socket.path()).await.unwrap();
    given_up.write_all(&[7; 20 << 10]).await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await; // as much as may be is read first
    }
    drop(given_up);
    let mut stays = UnixStream::connect(socket.path()).await.unwrap();
    stays.write_all(b"this").await.unwrap();
    gate.add_permits(1);
    let server = within(servers.recv()).await.unwrap();
    let mut received = Vec::new();
    while received != b"this" {
        let mut channel = within(server.accept()).await.unwrap();
        let mut bytes = [0; 4];
        if within(channel.read_exact(&mut bytes)).await.is_ok() {
            received = bytes.to_vec();
            assert_eq!(&bytes, b"this");
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_server_that_reads_no_more_arrives() {
    let (socket, gate, mut servers) = gated();
    gate.add_permits(1);
    let (mut reader, mut writer) = UnixStream::connect(socket.path())
        .await
        .unwrap()
        .into_split();
    let upload = tokio::spawn(async move { writer.write_all(&[7; 4 << 20]).await });
    let server = within(servers.recv()).await.unwrap();
    let mut channel = within(server.accept()).await.unwrap();
    within(channel.read_exact(&mut [0; 100])).await.unwrap();
    channel.stop(1);
    for _ in 0..100 {
        tokio::task::yield_now().await; // that is known before the answer comes
    }
    channel.write_all(b"answer").await.unwrap();
    channel.shutdown().await.unwrap();
    let mut answer = [0; 6];
    within(reader.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"answer");
    upload.abort();
}

#[tokio::test]
async fn a_caller_that_ends_its_direction_early_gets_the_answer() {
    let (socket, gate, mut servers) = gated();
    let mut caller = UnixStream::connect(socket.path()).await.unwrap();
    caller.write_all(b"question").await.unwrap();
    caller.shutdown().await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await; // the end is seen first
    }
    gate.add_permits(1);
    let server = within(servers.recv()).await.unwrap();
    let mut channel = within(server.accept()).await.unwrap();
    let mut text = String::new();
    within(channel.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "question");
    channel.write_all(b"answer").await.unwrap();
    channel.shutdown().await.unwrap();
    text.clear();
    within(caller.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "answer");
}

#[tokio::test]
async fn a_caller_that_gives_up_an_upload_which_nobody_reads_ends_the_channel() {
    let (socket, gate, mut servers) = gated();
    gate.add_permits(1);
    let mut caller = UnixStream::connect(socket.path()).await.unwrap();
    let upload = tokio::spawn(async move { caller.write_all(&[7; 16 << 20]).await });
    let server = within(servers.recv()).await.unwrap();
    let mut channel = within(server.accept()).await.unwrap();
    within(channel.read_exact(&mut [0; 100])).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await; // until nothing moves any more
    }
    upload.abort();
    within(async {
        while server.stats().reset_by_peer == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_after_the_answer_has_ended() {
    let (socket, gate, mut servers) = gated();
    gate.add_permits(1);
    let mut caller = UnixStream::connect(socket.path()).await.unwrap();
    caller.write_all(b"?").await.unwrap();
    let server = within(servers.recv()).await.unwrap();
    let mut channel = within(server.accept()).await.unwrap();
    assert_eq!(within(channel.read_u8()).await.unwrap(), b'?');
    channel.shutdown().await.unwrap();
    assert_eq!(within(caller.read(&mut [0; 1])).await.unwrap(), 0);
    tokio::time::sleep(LOOKS * 2).await; // what is promised is that nothing happens then
    caller.write_all(b"more").await.unwrap();
    caller.shutdown().await.unwrap();
    let mut text = String::new();
    within(channel.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "more");
}

#[tokio::test]
async fn a_target_that_is_down_is_an_error_of_the_request() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = uri(listener.local_addr().unwrap());
    drop(listener);
    let socket = LocalSocket::new(Multiplex::new(HttpConnector::new()), target).unwrap();
    let client = reqwest::Client::builder().unix_socket(socket.path());
    let client = client.build().unwrap();
    let error = within(client.get("http://name/").send()).await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    let part = || async {
        let parts = [Ok(Bytes::from_static(b"part")), Err(ErrorKind::Other)];
        let parts = parts.map(|part| part.map_err(std::io::Error::from));
        Body::from_stream(tokio_stream::iter(parts))
    };
    let addr = serve(Router::new().route("/", get(part))).await;
    let socket = LocalSocket::new(Multiplex::new(HttpConnector::new()), uri(addr)).unwrap();
    let client = reqwest::Client::builder().unix_socket(socket.path());
    let client = client.build().unwrap();
    let text = async { client.get("http://name/").send().await?.text().await };
    within(text).await.unwrap_err();
}

#[tokio::test]
async fn no_other_user_may_enter_its_folder_which_goes_with_it() {
    let (socket, _gate, _servers) = gated();
    let folder = socket.path().parent().unwrap().to_owned();
    let mode = folder.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(socket);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_path_that_exists_is_refused_and_stays() {
    let (socket, _gate, _servers) = gated();
    let multiplex = Multiplex::new(HttpConnector::new());
    let target = Uri::from_static("http://here");
    let second = LocalSocket::bind(socket.path(), multiplex, target);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(socket.path().exists());
}
