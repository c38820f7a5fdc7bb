use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::anyhow;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode, Stream};

use super::interface::{STREAMS, Way};
use crate::transport::{Io, Listener, Transport};

/// rust-yamux, driven by a task as libp2p drives it.
pub struct Yamux;

type Reply = oneshot::Sender<Stream>;

fn connection(io: Io, mode: Mode) -> Connection<Compat<Io>> {
    let mut config = Config::default();
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(STREAMS as usize);
    Connection::new(io.compat(), config, mode)
}

/// Drives the client's connection and opens what is asked for.
struct Driver {
    connection: Connection<Compat<Io>>,
    requests: mpsc::UnboundedReceiver<Reply>,
    waiting: VecDeque<Reply>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        while let Poll::Ready(Some(reply)) = this.requests.poll_recv(cx) {
            this.waiting.push_back(reply);
        }
        while let Some(reply) = this.waiting.pop_front() {
            match this.connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => drop(reply.send(stream)),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    this.waiting.push_front(reply);
                    break;
                }
            }
        }
        loop {
            match this.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Way for Yamux {
    type Stream = Compat<Stream>;
    type Http = TokioIo<Compat<Stream>>;
    type Listener = Listener;
    type Client = mpsc::UnboundedSender<Reply>;

    fn http(stream: Self::Stream) -> Self::Http {
        TokioIo::new(stream)
    }

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        Listener::bind(transport)
    }

    async fn serve<H, F>(listener: Listener, handler: H) -> anyhow::Result<()>
    where
        H: Fn(Self::Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connection = connection(listener.accept().await?, Mode::Server);
        while let Some(stream) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {
            tokio::spawn(handler(stream?.compat()));
        }
        Err(anyhow!("the connection ended"))
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Self::Client> {
        let io = transport.connect(addr).await?;
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(Driver {
            connection: connection(io, Mode::Client),
            requests,
            waiting: VecDeque::new(),
        });
        Ok(sender)
    }

    async fn open(client: &Self::Client) -> anyhow::Result<Self::Stream> {
        let (reply, stream) = oneshot::channel();
        client.send(reply)?;
        Ok(stream.await?.compat())
    }
}
