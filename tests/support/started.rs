//! Acceptors begin when they are first asked.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio_stream::Stream;

/// An acceptor or a port that takes connections, though nobody asks for their channels.
pub fn started<A: Stream + Unpin>(mut acceptor: A) -> A {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut acceptor).poll_next(&mut cx).is_pending());
    acceptor
}
