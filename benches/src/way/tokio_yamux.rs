use std::net::SocketAddr;

use anyhow::anyhow;
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use tokio_yamux::{Config, Control, Session, StreamHandle};

use super::interface::{STREAMS, Way};
use crate::transport::{Listener, Transport};

pub struct TokioYamux;

fn config() -> Config {
    Config {
        max_stream_count: STREAMS as usize,
        ..Config::default()
    }
}

impl Way for TokioYamux {
    type Stream = StreamHandle;
    type Http = TokioIo<StreamHandle>;
    type Listener = Listener;
    type Client = Control;

    fn http(stream: StreamHandle) -> Self::Http {
        TokioIo::new(stream)
    }

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        Listener::bind(transport)
    }

    async fn serve<H, F>(listener: Listener, handler: H) -> anyhow::Result<()>
    where
        H: Fn(StreamHandle) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut session = Session::new_server(listener.accept().await?, config());
        while let Some(stream) = session.next().await {
            tokio::spawn(handler(stream?));
        }
        Err(anyhow!("the connection ended"))
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Control> {
        let io = transport.connect(addr).await?;
        let mut session = Session::new_client(io, config());
        let control = session.control();
        tokio::spawn(async move { while let Some(Ok(_)) = session.next().await {} });
        Ok(control)
    }

    async fn open(client: &Control) -> anyhow::Result<StreamHandle> {
        Ok(client.clone().open_stream().await?)
    }
}
