use std::net::SocketAddr;

use anyhow::anyhow;
use tcpchan::{Channel, Config, Connection, MemoryBudget, Protocol};

use super::interface::{STREAMS, Way};
use crate::transport::{Listener, Transport};

/// This crate, by version of its protocol.
pub struct TcpChan<const VERSION: u8>;

fn config(version: u8) -> anyhow::Result<Config> {
    let protocol = match version {
        0 => Protocol::V0,
        _ => Protocol::V1,
    };
    // Both ends are in this process, with 100,000 streams each in one row.
    let budget = MemoryBudget::new(4 << 30)?;
    Ok(Config::default()
        .protocol(protocol)
        .memory_budget(budget)
        .max_channels(STREAMS)?)
}

impl<const VERSION: u8> Way for TcpChan<VERSION> {
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
        let connection = Connection::server(listener.accept().await?, config(VERSION)?);
        while let Some(channel) = connection.accept().await {
            tokio::spawn(handler(channel));
        }
        Err(anyhow!("the connection ended"))
    }

    async fn connect(addr: SocketAddr, transport: Transport) -> anyhow::Result<Connection> {
        let io = transport.connect(addr).await?;
        Ok(Connection::client(io, config(VERSION)?))
    }

    async fn open(client: &Connection) -> anyhow::Result<Channel> {
        Ok(client.open().await?)
    }
}
