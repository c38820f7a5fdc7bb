//! TCP connections that this process makes: directly, or through a proxy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::proxy::Proxy;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector for URIs of any scheme. Through a proxy, the proxy resolves their names.
#[derive(Clone)]
pub struct Outgoing {
    tcp: HttpConnector,
    proxy: Option<Arc<Proxy>>,
}

impl Outgoing {
    pub fn new(proxy: Option<Proxy>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Outgoing {
            tcp,
            proxy: proxy.map(Arc::new),
        }
    }

    /// A connection to HOST:PORT.
    pub async fn connect(&self, to: &str) -> Result<TcpStream, BoxError> {
        let to = Uri::builder().scheme("tcp").authority(to);
        let to = to.path_and_query("/").build()?;
        Ok(self.clone().call(to).await?.into_inner())
    }
}

impl Service<Uri> for Outgoing {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.tcp.poll_ready(cx))?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match &self.proxy {
            None => {
                let connect = self.tcp.call(to);
                Box::pin(async move { Ok(connect.await?) })
            }
            Some(proxy) => {
                let (proxy, tcp) = (proxy.clone(), self.tcp.clone());
                Box::pin(async move { Ok(proxy.connect(tcp, to).await?) })
            }
        }
    }
}
