//! A connector whose connections are the streams of one QUIC connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::TokioIo;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf};
use tokio::sync::OnceCell;
use tower_service::Service;

use crate::conditions::Congestion;
use crate::link::SERVER;
use crate::quic;
use crate::tls::Identity;

/// Dials once, for all its clones.
#[derive(Clone)]
pub struct QuicConnector {
    endpoint: Endpoint,
    server: SocketAddr,
    connection: Arc<OnceCell<Connection>>,
}

impl QuicConnector {
    pub fn new(server: SocketAddr, identity: &Identity, congestion: Congestion) -> Result<Self> {
        let mut tls = identity.client()?;
        tls.alpn_protocols = vec![quic::PROTOCOL.into()];
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::new(quic::transport(congestion)?));
        let mut endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
        endpoint.set_default_client_config(config);
        Ok(QuicConnector {
            endpoint,
            server,
            connection: Arc::default(),
        })
    }

    async fn open(self) -> Result<TokioIo<Stream>> {
        let dial = || async {
            let dialled = self.endpoint.connect(self.server, &SERVER.to_string())?;
            anyhow::Ok(dialled.await?)
        };
        let connection = self.connection.get_or_try_init(dial).await?;
        let (send, receive) = connection.open_bi().await?;
        Ok(TokioIo::new(Stream(tokio::io::join(receive, send))))
    }
}

impl Service<Uri> for QuicConnector {
    type Response = TokioIo<Stream>;
    type Error = anyhow::Error;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

pub struct Stream(Join<RecvStream, SendStream>);

impl Connects for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
