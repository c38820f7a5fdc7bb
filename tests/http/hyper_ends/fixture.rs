//! A connection that a test can end in every way, and hyper's clients.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, channel};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, DuplexStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Body = channel::Channel<Bytes, Error>;
pub type BodySender = channel::Sender<Bytes, Error>;

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// How the TCP connection is lost.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// A FIN, as when the process ends.
    Eof,
    /// A RST.
    Rst,
}

/// The server's end of a channel, with its connection and its wire.
pub struct Far {
    pub channel: Option<Channel>,
    pub connection: Option<Connection>,
    wire: Option<oneshot::Sender<Loss>>,
}

impl Far {
    /// Takes a connection and its first channel.
    pub async fn accept(listener: &TcpListener) -> Far {
        let (tcp, _) = listener.accept().await.unwrap();
        let (near, far) = tokio::io::duplex(64 << 10);
        let (wire, lost) = oneshot::channel();
        tokio::spawn(carry(tcp, near, lost));
        let connection = Connection::server(far, Config::default());
        Far {
            channel: connection.accept().await,
            connection: Some(connection),
            wire: Some(wire),
        }
    }

    pub fn channel(&mut self) -> &mut Channel {
        self.channel.as_mut().unwrap()
    }

    /// Cuts the wire: neither side hears of it from the other.
    pub fn lose(&mut self, how: Loss) {
        self.wire.take().unwrap().send(how).unwrap();
    }
}

async fn carry(mut tcp: TcpStream, mut far: DuplexStream, lost: oneshot::Receiver<Loss>) {
    tokio::select! {
        _ = copy_bidirectional(&mut tcp, &mut far) => {}
        Ok(how) = lost => if let Loss::Rst = how {
            tcp.set_zero_linger().unwrap();
        }
    }
}

/// A channel on a connection of its own.
pub async fn raw(addr: SocketAddr) -> Channel {
    let tcp = TcpStream::connect(addr).await.unwrap();
    let connection = Connection::client(tcp, Config::default());
    connection.open().await.unwrap()
}

/// Reads a request's head, byte by byte so that nothing of its body is taken.
pub async fn read_head(channel: &mut Channel) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(channel.read_u8().await.unwrap());
    }
}

/// The two ways to use a channel with hyper.
#[derive(Clone, Copy, Debug)]
pub enum Via {
    /// hyper-util's pooling client over a [`Multiplex`].
    Multiplex,
    /// hyper's own client connection on a channel.
    Http1,
}

pub const CLIENTS: [Via; 2] = [Via::Multiplex, Via::Http1];

impl Via {
    pub async fn send(
        self,
        addr: SocketAddr,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        match self {
            Via::Multiplex => {
                let connector = Multiplex::new(HttpConnector::new());
                let client = Client::builder(TokioExecutor::new()).build(connector);
                Ok(client.request(request).await?)
            }
            Via::Http1 => {
                let (mut sender, connection) = http1::handshake(raw(addr).await).await?;
                tokio::spawn(connection);
                Ok(sender.send_request(request).await?)
            }
        }
    }

    pub async fn get(self, addr: SocketAddr) -> Result<Response<Incoming>, Error> {
        let (_, empty) = Body::new(1);
        let request = Request::get(format!("http://{addr}/")).header("content-length", 0);
        self.send(addr, request.body(empty)?).await
    }
}

/// The whole body, or why it is not whole.
pub async fn collect(body: Incoming) -> Result<Bytes, Error> {
    Ok(body.collect().await?.to_bytes())
}
