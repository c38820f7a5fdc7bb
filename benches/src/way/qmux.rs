use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper_util::rt::TokioIo;
use qmux::transport::Stream;
use qmux::{Config, Error, RecvStream, SendStream, Session, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::ReusableBoxFuture;
use web_transport_trait::{RecvStream as _, SendStream as _, Session as _};

use super::interface::{STREAMS, Way};
use crate::transport::{Listener, Transport};

/// QMux, QUIC's streams over TCP. Its streams have futures instead of
/// `AsyncRead` and `AsyncWrite`; each half lives in one whose memory is reused.
pub struct Qmux;

const STREAM_WINDOW: u64 = 1 << 20;
const CONNECTION_WINDOW: u64 = 16 << 20;
const PIECE: usize = 64 << 10;

type Received = (RecvStream, Result<Option<Bytes>, Error>);
type Sent = (SendStream, Result<(), Error>);

async fn receive(mut stream: RecvStream) -> Received {
    let piece = stream.read_chunk(PIECE).await;
    (stream, piece)
}

async fn send(mut stream: SendStream, bytes: Bytes) -> Sent {
    let sent = stream.write_chunk(bytes).await;
    (stream, sent)
}

pub struct QmuxStream {
    receiving: ReusableBoxFuture<'static, Received>,
    received: Bytes,
    ended: bool,
    /// `None` while `sending` has it.
    idle: Option<SendStream>,
    sending: Option<ReusableBoxFuture<'static, Sent>>,
}

impl QmuxStream {
    fn new((send, recv): (SendStream, RecvStream)) -> QmuxStream {
        QmuxStream {
            receiving: ReusableBoxFuture::new(receive(recv)),
            received: Bytes::new(),
            ended: false,
            idle: Some(send),
            sending: None,
        }
    }

    /// Waits for the write before.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.idle.is_none()
            && let Some(sending) = &mut self.sending
        {
            let (stream, sent) = ready!(sending.poll(cx));
            self.idle = Some(stream);
            sent.map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for QmuxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() && !self.ended {
            let (stream, piece) = ready!(self.receiving.poll(cx));
            self.receiving.set(receive(stream));
            match piece.map_err(io::Error::other)? {
                Some(piece) => self.received = piece,
                None => self.ended = true,
            }
        }
        let n = buf.remaining().min(self.received.len());
        buf.put_slice(&self.received[..n]);
        self.received.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for QmuxStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        let Some(stream) = self.idle.take() else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let n = buf.len().min(PIECE);
        let future = send(stream, Bytes::copy_from_slice(&buf[..n]));
        match &mut self.sending {
            Some(sending) => sending.set(future),
            none => *none = Some(ReusableBoxFuture::new(future)),
        }
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        let finished = self.idle.as_mut().map_or(Ok(()), |stream| stream.finish());
        Poll::Ready(finished.map_err(io::Error::other))
    }
}

fn config() -> Config {
    let mut config = Config::new(Version::QMux02);
    config.max_streams_bidi = STREAMS.into();
    config.max_data = CONNECTION_WINDOW;
    config.max_stream_data_bidi_local = STREAM_WINDOW;
    config.max_stream_data_bidi_remote = STREAM_WINDOW;
    config
}

impl Way for Qmux {
    type Stream = QmuxStream;
    type Http = TokioIo<QmuxStream>;
    type Listener = Listener;
    type Client = Session;

    fn http(stream: QmuxStream) -> Self::Http {
        TokioIo::new(stream)
    }

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        Listener::bind(transport)
    }

    async fn serve<H, F>(listener: Listener, handler: H) -> anyhow::Result<()>
    where
        H: Fn(QmuxStream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let config = config();
        let io = Stream::new(
            listener.accept().await?,
            config.version,
            config.max_record_size,
        );
        let session = Session::accept(io, config).await?;
        loop {
            let halves = session.accept_bi().await?;
            tokio::spawn(handler(QmuxStream::new(halves)));
        }
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Session> {
        let config = config();
        let io = transport.connect(addr).await?;
        let io = Stream::new(io, config.version, config.max_record_size);
        Ok(Session::connect(io, config).await?)
    }

    async fn open(client: &Session) -> anyhow::Result<QmuxStream> {
        Ok(QmuxStream::new(client.open_bi().await?))
    }
}
