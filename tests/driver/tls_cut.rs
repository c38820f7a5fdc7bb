//! TLS that is cut without its close_notify: no reader takes that for an end.
#![cfg(all(feature = "client", feature = "server", feature = "tls"))]

use std::convert::Infallible;
use std::io::ErrorKind;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, channel};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tcpchan::Channel;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::Service;

use crate::certs::Authority;
use crate::guard::within;
use crate::proxy::{Fault, Proxy};
use crate::started::started;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = channel::Channel<Bytes, Error>;

/// A server, and a client whose TCP connection can be cut.
struct Link {
    acceptor: Acceptor,
    proxy: Proxy,
    connector: Multiplex<TlsConnector>,
}

impl Link {
    async fn new() -> Link {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = Tls::new(authority.server());
        let acceptor = started(Acceptor::new(listener).with_tls(tls));
        let proxy = Proxy::start(acceptor.local_addr().unwrap(), None).await;
        Link {
            acceptor,
            proxy,
            connector: Multiplex::new(TlsConnector::new(authority.client())),
        }
    }

    fn uri(&self) -> Uri {
        format!("https://{}/", self.proxy.addr).parse().unwrap()
    }

    /// The two ends of a channel.
    async fn channel(&mut self) -> (Channel, Channel) {
        let mut near = self.connector.call(self.uri()).await.unwrap();
        near.write_u8(b'!').await.unwrap();
        let (mut far, _) = self.acceptor.accept().await;
        assert_eq!(far.read_u8().await.unwrap(), b'!');
        (near, far)
    }

    fn send(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, Error>> + use<> {
        let client = Client::builder(TokioExecutor::new()).build(self.connector.clone());
        async move { Ok(client.request(request).await?) }
    }
}

const CUTS: [Fault; 2] = [Fault::Fin, Fault::Reset];

#[tokio::test]
async fn both_readers_of_a_channel_get_an_error() {
    for cut in CUTS {
        let mut link = within(Link::new()).await;
        let (mut near, mut far) = within(link.channel()).await;
        link.proxy.hurt(cut);
        for end in [&mut near, &mut far] {
            let read = within(end.read_to_end(&mut Vec::new())).await;
            let kind = read.unwrap_err().kind();
            let kinds = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
            assert!(kinds.contains(&kind), "{kind:?}");
        }
    }
}

/// The end that was said before stays one.
#[tokio::test]
async fn a_fin_ahead_of_the_cut_is_clean() {
    for cut in CUTS {
        let mut link = within(Link::new()).await;
        let (mut near, mut far) = within(link.channel()).await;
        near.shutdown().await.unwrap();
        assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0);
        link.proxy.hurt(cut);
        assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0);
    }
}

/// The server sends this response and then the connection is cut.
async fn response_cut_behind(part: &str, cut: Fault) -> Result<Bytes, Error> {
    let mut link = Link::new().await;
    let (_, empty) = Body::new(1);
    let response = link.send(Request::get(link.uri()).body(empty)?);
    let serve = async {
        let (mut channel, _) = link.acceptor.accept().await;
        channel.write_all(part.as_bytes()).await.unwrap();
        channel
    };
    let (response, _channel) = tokio::join!(response, serve);
    let mut body = response?.into_body();
    let first = body.frame().await.unwrap()?.into_data().unwrap();
    assert_eq!(first, "part");
    link.proxy.hurt(cut);
    Ok(body.collect().await?.to_bytes())
}

async fn is_an_error(part: &str) {
    for cut in CUTS {
        let body = within(response_cut_behind(part, cut)).await;
        assert!(body.is_err(), "{cut:?}: {body:?}");
    }
}

#[tokio::test]
async fn a_response_with_its_length_is_an_error() {
    is_an_error("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await;
}

#[tokio::test]
async fn a_response_in_chunks_is_an_error() {
    is_an_error("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n").await;
}

#[tokio::test]
async fn a_response_up_to_the_end_is_an_error() {
    is_an_error("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart").await;
}

/// What a handler sees of a request body that is cut behind its first part.
async fn request_cut((name, value): (&str, &str), cut: Fault) -> Result<Bytes, Error> {
    let mut link = Link::new().await;
    let (mut sender, body) = Body::new(1);
    let request = Request::post(link.uri()).header(name, value).body(body)?;
    tokio::spawn(link.send(request));
    sender.send_data("part".into()).await?;
    let (channel, _) = link.acceptor.accept().await;
    let (sees, mut seen) = mpsc::channel(2);
    let handler = service_fn(move |request| handle(request, sees.clone()));
    tokio::spawn(http1::Builder::new().serve_connection(channel, handler));
    assert_eq!(seen.recv().await.unwrap()?, "part");
    link.proxy.hurt(cut);
    seen.recv().await.unwrap()
}

async fn handle(
    request: Request<Incoming>,
    sees: mpsc::Sender<Result<Bytes, Error>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut body = request.into_body();
    let part = body.frame().await.unwrap().unwrap().into_data().unwrap();
    sees.send(Ok(part)).await.unwrap();
    let rest = body.collect().await;
    sees.send(rest.map(|rest| rest.to_bytes()).map_err(Into::into))
        .await
        .unwrap();
    Ok(Response::new(Empty::new()))
}

#[tokio::test]
async fn a_request_is_an_error() {
    for framing in [("content-length", "100"), ("transfer-encoding", "chunked")] {
        for cut in CUTS {
            let body = within(request_cut(framing, cut)).await;
            assert!(body.is_err(), "{framing:?}, {cut:?}: {body:?}");
        }
    }
}
