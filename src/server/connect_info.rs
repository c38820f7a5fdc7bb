//! The peer's address for handlers and layers that know nothing of this crate.

use std::task::{Context, Poll};

#[cfg(feature = "axum")]
use axum::extract::ConnectInfo;
use http::{Extensions, Request};
#[cfg(feature = "tonic")]
use tonic::transport::server::TcpConnectInfo;
use tower_layer::Layer;
use tower_service::Service;

use super::peer::PeerInfo;

/// A layer that tells each request where it comes from, in the forms that handlers and
/// other layers look for: [`PeerInfo`], axum's `ConnectInfo<SocketAddr>`, and what tonic's
/// `Request::remote_addr` needs.
///
/// It finds the [`PeerInfo`] that axum or tonic was served with. Where there is none, it
/// adds nothing. Layers that need an address go inside: in axum, they are added before it.
///
/// ```no_run
/// # async fn run(acceptor: tcpchan::server::Acceptor) -> std::io::Result<()> {
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, extract::ConnectInfo, routing::get};
/// use tcpchan::server::{ConnectInfoLayer, PeerInfo};
///
/// async fn who(ConnectInfo(addr): ConnectInfo<std::net::SocketAddr>) -> String {
///     format!("you are {addr}")
/// }
///
/// let app = Router::new().route("/", get(who)).layer(ConnectInfoLayer::new());
/// let service = app.into_make_service_with_connect_info::<PeerInfo>();
/// axum::serve(acceptor, service).await?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectInfoLayer;

impl ConnectInfoLayer {
    /// The layer.
    pub fn new() -> Self {
        ConnectInfoLayer
    }
}

impl<S> Layer<S> for ConnectInfoLayer {
    type Service = WithConnectInfo<S>;

    fn layer(&self, inner: S) -> WithConnectInfo<S> {
        WithConnectInfo { inner }
    }
}

/// A service under a [`ConnectInfoLayer`].
#[derive(Clone, Debug)]
pub struct WithConnectInfo<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for WithConnectInfo<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        if let Some(peer) = peer(extensions) {
            #[cfg(feature = "axum")]
            extensions.insert(ConnectInfo(peer.addr));
            #[cfg(feature = "tonic")]
            extensions.insert(TcpConnectInfo {
                local_addr: None,
                remote_addr: Some(peer.addr),
            });
            extensions.insert(peer);
        }
        self.inner.call(request)
    }
}

fn peer(extensions: &Extensions) -> Option<PeerInfo> {
    #[cfg(feature = "axum")]
    if let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<PeerInfo>>() {
        return Some(peer.clone());
    }
    extensions.get::<PeerInfo>().cloned()
}
