use std::net::SocketAddr;

use hyper_util::rt::TokioIo;

use super::interface::Way;
use crate::transport::{Io, Listener, Transport};

/// A connection per stream.
pub struct Tcp;

impl Way for Tcp {
    type Stream = Io;
    type Http = TokioIo<Io>;
    type Listener = Listener;
    type Client = (SocketAddr, Transport);

    fn http(stream: Io) -> TokioIo<Io> {
        TokioIo::new(stream)
    }

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        Listener::bind(transport)
    }

    async fn serve<H, F>(listener: Listener, handler: H) -> anyhow::Result<()>
    where
        H: Fn(Io) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let transport = listener.transport;
        loop {
            let (tcp, _) = listener.tcp.accept().await?;
            if transport == Transport::Plain {
                let io = transport.accept(tcp).await?;
                tokio::spawn(handler(io));
                continue;
            }
            let handler = handler.clone();
            tokio::spawn(async move {
                if let Ok(io) = transport.accept(tcp).await {
                    handler(io).await;
                }
            });
        }
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Self::Client> {
        Ok((addr, transport))
    }

    async fn open((addr, transport): &Self::Client) -> anyhow::Result<Io> {
        transport.connect(*addr).await
    }
}
