//! A connection to a proxy while that is asked. Read byte by byte, so that what the server
//! sends behind the proxy's answer stays for who talks to the server.

use std::future::{Ready, ready};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// Bytes of an answer that are kept for an error: a status line.
const KEPT: usize = 100;

pub struct Narrow {
    io: TokioIo<TcpStream>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Narrow {
    pub fn new(io: TokioIo<TcpStream>, heard: Arc<Mutex<Vec<u8>>>) -> Self {
        Narrow { io, heard }
    }

    pub fn into_inner(self) -> TokioIo<TcpStream> {
        self.io
    }
}

impl Read for Narrow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [MaybeUninit::uninit()];
        let mut one = ReadBuf::uninit(&mut byte);
        ready!(Pin::new(&mut self.io).poll_read(cx, one.unfilled()))?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < KEPT {
            heard.extend_from_slice(one.filled());
        }
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Narrow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A connector that has connected already, for one call.
pub struct Given(pub Option<Narrow>);

impl Service<Uri> for Given {
    type Response = Narrow;
    type Error = io::Error;
    type Future = Ready<io::Result<Narrow>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}
