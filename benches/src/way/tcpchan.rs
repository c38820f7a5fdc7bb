use std::net::SocketAddr;

use anyhow::anyhow;
use tcpchan::{Channel, Config, Connection};

use super::{STREAMS, Way};
use crate::transport::{Listener, Transport};

/// This crate, version 1 of its protocol.
pub struct TcpChan;

// Version 0: a second way with `Config::default().protocol(Protocol::V0)` on
// both sides, made by giving this one a const parameter.
fn config() -> anyhow::Result<Config> {
    Ok(Config::default().max_channels(STREAMS)?)
}

impl Way for TcpChan {
    type Stream = Channel;
    type Http = Channel;
    type Listener = Listener;
    type Client = Connection;

    fn http(stream: Channel) -> Channel {
        stream
    }

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        Listener::bind(transport)
    }

    async fn serve<H, F>(listener: Listener, handler: H) -> anyhow::Result<()>
    where
        H: Fn(Channel) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let connection = Connection::server(listener.accept().await?, config()?);
        while let Some(channel) = connection.accept().await {
            tokio::spawn(handler(channel));
        }
        Err(anyhow!("the connection ended"))
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Connection> {
        let io = transport.connect(addr).await?;
        Ok(Connection::client(io, config()?))
    }

    async fn open(client: &Connection) -> anyhow::Result<Channel> {
        Ok(client.open().await?)
    }
}
