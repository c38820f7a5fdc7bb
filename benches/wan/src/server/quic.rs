//! HTTP/1 on QUIC streams.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use hyper_util::rt::TokioIo;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, ServerConfig};

use super::http;
use crate::conditions::Congestion;
use crate::quic;
use crate::tls::Identity;
use crate::way::Kind;

pub fn start(address: SocketAddr, identity: &Identity, congestion: Congestion) -> Result<()> {
    let tls = QuicServerConfig::try_from(identity.server(quic::PROTOCOL)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(quic::transport(congestion)?));
    let endpoint = Endpoint::server(config, address)?;
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(serve(incoming));
        }
    });
    Ok(())
}

async fn serve(incoming: Incoming) -> Result<()> {
    let connection = incoming.await?;
    loop {
        let (send, receive) = connection.accept_bi().await?;
        let stream = TokioIo::new(tokio::io::join(receive, send));
        tokio::spawn(http::serve(stream, Kind::Quic));
    }
}
