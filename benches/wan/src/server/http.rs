//! HTTP on TCP: hyper's server, and axum's on tcpchan.

use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tcpchan::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::app::app;
use crate::way::{Kind, LARGE_WINDOW};

pub async fn tcpchan(acceptor: Acceptor) {
    let _ = axum::serve(acceptor, app()).await;
}

/// HTTP/1 or HTTP/2, as the client starts.
pub async fn hyper(listener: TcpListener, kind: Kind) {
    while let Some(stream) = accept(&listener).await {
        tokio::spawn(serve(TokioIo::new(stream), kind));
    }
}

/// The same over TLS.
pub async fn tls(listener: TcpListener, acceptor: TlsAcceptor, kind: Kind) {
    while let Some(stream) = accept(&listener).await {
        let handshake = acceptor.accept(stream);
        tokio::spawn(async move {
            let Ok(stream) = handshake.await else { return };
            serve(TokioIo::new(stream), kind).await;
        });
    }
}

/// A client that goes away is not the server's failure.
pub async fn serve(io: impl Read + Write + Unpin + Send + 'static, kind: Kind) {
    let mut builder = Builder::new(TokioExecutor::new());
    match kind {
        Kind::H2Large => {
            let window = Some(LARGE_WINDOW);
            let mut http2 = builder.http2();
            http2.initial_stream_window_size(window);
            http2.initial_connection_window_size(window);
            http2.max_concurrent_streams(None);
        }
        Kind::H2Adaptive => {
            builder.http2().adaptive_window(true);
        }
        _ => {}
    }
    let _ = builder
        .serve_connection(io, TowerToHyperService::new(app()))
        .await;
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let (stream, _) = listener.accept().await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
