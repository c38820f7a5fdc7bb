//! Calls, and how they end.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::server::{NamedService, StreamingService};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::guard::within;

/// Answers each message with the connection and channel that it came on.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<HttpRequest<Body>> for Echo {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        Box::pin(async {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(grpc.streaming(Echo, request).await)
        })
    }
}

type Answers = Pin<Box<dyn futures_util::Stream<Item = Result<String, Status>> + Send>>;

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Answers;
    type Future = Ready<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        let on = peer.map(|peer| (peer.connection, peer.channel));
        let messages = request.into_inner();
        let answers = messages.map(move |message| match message?.as_str() {
            "fail" => Err(Status::data_loss("as you wish")),
            message => Ok(format!("{message} {on:?}")),
        });
        ready(Ok(Response::new(Box::pin(answers))))
    }
}

async fn listen() -> (Acceptor, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr().unwrap();
    (acceptor, addr)
}

async fn serve() -> SocketAddr {
    let (acceptor, addr) = listen().await;
    let server = Server::builder().add_service(Echo);
    tokio::spawn(server.serve_with_incoming(acceptor));
    addr
}

async fn connect(addr: SocketAddr) -> Channel {
    let connector = Multiplex::new(HttpConnector::new());
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let connect = endpoint.connect_with_connector(connector);
    within(connect).await.unwrap()
}

async fn call(channel: Channel) -> (mpsc::Sender<String>, Streaming<String>) {
    let (sender, messages) = mpsc::channel(1);
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Echo/Stream");
    let request = Request::new(ReceiverStream::new(messages));
    let response = client.streaming(request, path, ProstCodec::default());
    (sender, within(response).await.unwrap().into_inner())
}

#[tokio::test]
async fn messages_stream_both_ways_and_the_handler_knows_the_channel() {
    let (sender, mut answers) = call(connect(serve().await).await).await;
    for i in 0..100 {
        sender.send(i.to_string()).await.unwrap();
        let answer = within(answers.message()).await.unwrap();
        assert_eq!(answer.unwrap(), format!("{i} Some((1, 1))"));
    }
    drop(sender);
    assert_eq!(within(answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn calls_at_once_share_one_channel() {
    let channel = connect(serve().await).await;
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(call(channel.clone()).await);
    }
    for (sender, answers) in &mut calls {
        sender.send("all".to_owned()).await.unwrap();
        let answer = within(answers.message()).await.unwrap();
        assert_eq!(answer.unwrap(), "all Some((1, 1))");
    }
}

#[tokio::test]
async fn a_status_comes_through() {
    let (sender, mut answers) = call(connect(serve().await).await).await;
    sender.send("fail".to_owned()).await.unwrap();
    let status = within(answers.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DataLoss, "as you wish")
    );
}

#[tokio::test]
async fn a_server_that_shuts_down_ends_the_calls_under_way_first() {
    let (acceptor, addr) = listen().await;
    let drain = acceptor.drain_handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let signal = async { drop(stopped.await) };
    let serve = |stop| {
        let server = Server::builder().add_service(Echo);
        server.serve_with_incoming_shutdown(acceptor, stop)
    };
    let served = async move {
        drain
            .serve_until(signal, Duration::from_secs(30), serve)
            .await
    };
    let served = tokio::spawn(served);
    let (sender, mut answers) = call(connect(addr).await).await;
    stop.send(()).unwrap();
    sender.send("late".to_owned()).await.unwrap();
    assert!(within(answers.message()).await.unwrap().is_some());
    drop(sender);
    assert_eq!(within(answers.message()).await.unwrap(), None);
    within(served).await.unwrap().unwrap();
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_serves_grpc_too() {
    let (acceptor, addr) = listen().await;
    let app = Routes::new(Echo).into_axum_router();
    tokio::spawn(async { axum::serve(acceptor, app).await });
    let (sender, mut answers) = call(connect(addr).await).await;
    sender.send("hello".to_owned()).await.unwrap();
    let answer = within(answers.message()).await.unwrap();
    assert_eq!(answer.unwrap(), "hello None");
}
