use std::net::SocketAddr;

use anyhow::anyhow;
use async_smux::{MuxBuilder, MuxConnector, MuxStream};
use hyper_util::rt::TokioIo;

use super::interface::Way;
use crate::transport::{Io, Listener, Transport};

pub struct Smux;

impl Way for Smux {
    type Stream = MuxStream<Io>;
    type Http = TokioIo<MuxStream<Io>>;
    type Listener = Listener;
    type Client = MuxConnector<Io>;

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
        let io = listener.accept().await?;
        let (_connector, mut acceptor, worker) = MuxBuilder::server().with_connection(io).build();
        tokio::spawn(worker);
        while let Some(stream) = acceptor.accept().await {
            tokio::spawn(handler(stream));
        }
        Err(anyhow!("the connection ended"))
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Self::Client> {
        let io = transport.connect(addr).await?;
        let (connector, mut acceptor, worker) = MuxBuilder::client().with_connection(io).build();
        tokio::spawn(worker);
        tokio::spawn(async move { while acceptor.accept().await.is_some() {} });
        Ok(connector)
    }

    async fn open(client: &Self::Client) -> anyhow::Result<Self::Stream> {
        Ok(client.connect()?)
    }
}
