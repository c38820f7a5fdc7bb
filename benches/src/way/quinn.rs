use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig,
};
use tokio::io::Join;

use super::interface::{STREAMS, Way};
use crate::transport::{HOST, IDENTITY, Transport};

/// QUIC: UDP, and always TLS.
pub struct Quinn;

type Stream = Join<RecvStream, SendStream>;

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.max_concurrent_bidi_streams(STREAMS.into());
    Arc::new(config)
}

fn server() -> anyhow::Result<ServerConfig> {
    let certificates = vec![IDENTITY.certificate.clone()];
    let mut config = ServerConfig::with_single_cert(certificates, IDENTITY.key.clone_key())?;
    config.transport_config(transport());
    Ok(config)
}

impl Way for Quinn {
    type Stream = Stream;
    type Http = TokioIo<Stream>;
    type Listener = UdpSocket;
    type Client = (Endpoint, Connection);

    fn http(stream: Stream) -> Self::Http {
        TokioIo::new(stream)
    }

    fn listen(_: Transport) -> anyhow::Result<(SocketAddr, UdpSocket)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok((socket.local_addr()?, socket))
    }

    async fn serve<H, F>(listener: UdpSocket, handler: H) -> anyhow::Result<()>
    where
        H: Fn(Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Arc::new(TokioRuntime);
        let config = EndpointConfig::default();
        let endpoint = Endpoint::new(config, Some(server()?), listener, runtime)?;
        let Some(incoming) = endpoint.accept().await else {
            return Ok(());
        };
        let connection = incoming.await?;
        loop {
            let (send, receive) = connection.accept_bi().await?;
            tokio::spawn(handler(tokio::io::join(receive, send)));
        }
    }

    async fn connect(addr: SocketAddr, _: Transport) -> anyhow::Result<Self::Client> {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        let mut config = ClientConfig::with_root_certificates(IDENTITY.roots.clone())?;
        config.transport_config(transport());
        let connection = endpoint.connect_with(config, addr, HOST)?.await?;
        Ok((endpoint, connection))
    }

    async fn open((_, connection): &Self::Client) -> anyhow::Result<Stream> {
        let (send, receive) = connection.open_bi().await?;
        Ok(tokio::io::join(receive, send))
    }
}
