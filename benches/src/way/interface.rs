//! What a way to carry byte streams can do.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::transport::Transport;

/// What a stream of any way is.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for T {}

pub trait Way: 'static {
    type Stream: ByteStream;
    /// The stream as hyper takes it: as it is, or in a `TokioIo`.
    type Http: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static;
    type Listener: Send;
    type Client: Send + Sync + 'static;

    fn http(stream: Self::Stream) -> Self::Http;

    fn listen(transport: Transport) -> anyhow::Result<(SocketAddr, Self::Listener)>;

    /// Accepts streams forever, and spawns `handler` for each.
    fn serve<H, F>(
        listener: Self::Listener,
        handler: H,
    ) -> impl Future<Output = anyhow::Result<()>> + Send
    where
        H: Fn(Self::Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static;

    fn connect(
        addr: SocketAddr,
        transport: Transport,
    ) -> impl Future<Output = anyhow::Result<Self::Client>> + Send;

    fn open(client: &Self::Client) -> impl Future<Output = anyhow::Result<Self::Stream>> + Send;
}

/// Streams that one connection may have, in every way that has such a limit.
pub const STREAMS: u32 = 200_000;
