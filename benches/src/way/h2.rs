use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::anyhow;
use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::interface::{STREAMS, Way};
use crate::transport::{Io, Listener, Transport};

/// HTTP/2 streams as byte streams: a request and a response whose bodies run
/// at the same time. `WINDOW` is that of the connection.
pub struct H2<const WINDOW: u32 = CONNECTION_WINDOW>;

const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

enum Receive {
    Head(ResponseFuture),
    Body(RecvStream),
}

pub struct H2Stream {
    send: SendStream<Bytes>,
    receive: Receive,
    left: Bytes,
}

impl H2Stream {
    fn new(send: SendStream<Bytes>, receive: Receive) -> H2Stream {
        let left = Bytes::new();
        H2Stream {
            send,
            receive,
            left,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut RecvStream>> {
        if let Receive::Head(head) = &mut self.receive {
            let head = ready!(Pin::new(head).poll(cx)).map_err(io::Error::other)?;
            self.receive = Receive::Body(head.into_body());
        }
        match &mut self.receive {
            Receive::Body(body) => Poll::Ready(Ok(body)),
            Receive::Head(_) => Poll::Pending,
        }
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            let body = ready!(self.poll_body(cx))?;
            match ready!(body.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => {
                    let data = data.map_err(io::Error::other)?;
                    body.flow_control()
                        .release_capacity(data.len())
                        .map_err(io::Error::other)?;
                    self.left = data;
                }
            }
        }
        let n = buf.remaining().min(self.left.len());
        buf.put_slice(&self.left[..n]);
        self.left.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(buf.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => drop(capacity.map_err(io::Error::other)?),
                None => {
                    let reason = ready!(self.send.poll_reset(cx)).map_err(io::Error::other)?;
                    return Poll::Ready(Err(io::Error::other(reason.description())));
                }
            }
        }
        let n = self.send.capacity().min(buf.len());
        self.send
            .send_data(Bytes::copy_from_slice(&buf[..n]), false)
            .map_err(io::Error::other)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = self.send.send_data(Bytes::new(), true);
        Poll::Ready(end.map_err(io::Error::other))
    }
}

impl<const WINDOW: u32> Way for H2<WINDOW> {
    type Stream = H2Stream;
    type Http = TokioIo<H2Stream>;
    type Listener = Listener;
    type Client = SendRequest<Bytes>;

    fn http(stream: H2Stream) -> Self::Http {
        TokioIo::new(stream)
    }

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        Listener::bind(transport)
    }

    async fn serve<H, F>(listener: Listener, handler: H) -> anyhow::Result<()>
    where
        H: Fn(H2Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connection = h2::server::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(STREAMS)
            .handshake::<Io, Bytes>(listener.accept().await?)
            .await?;
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request?;
            let send = respond.send_response(Response::new(()), false)?;
            let stream = H2Stream::new(send, Receive::Body(request.into_body()));
            tokio::spawn(handler(stream));
        }
        Err(anyhow!("the connection ended"))
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Self::Client> {
        let io = transport.connect(addr).await?;
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .initial_max_send_streams(STREAMS as usize)
            .handshake(io)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn open(client: &Self::Client) -> anyhow::Result<H2Stream> {
        let mut client = client.clone().ready().await?;
        let request = Request::post("http://localhost/").body(())?;
        let (head, send) = client.send_request(request, false)?;
        Ok(H2Stream::new(send, Receive::Head(head)))
    }
}
