//! `axum::serve(acceptor, app)`.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use super::{Acceptor, PeerInfo};
use crate::driver::Channel;

impl Listener for Acceptor {
    type Io = Channel;
    type Addr = PeerInfo;

    async fn accept(&mut self) -> (Channel, PeerInfo) {
        Acceptor::accept(self).await
    }

    /// The listener's address; connection and channel are 0.
    fn local_addr(&self) -> io::Result<PeerInfo> {
        let addr = Acceptor::local_addr(self)?;
        Ok(PeerInfo {
            addr,
            connection: 0,
            channel: 0,
        })
    }
}

impl Connected<IncomingStream<'_, Acceptor>> for PeerInfo {
    fn connect_info(stream: IncomingStream<'_, Acceptor>) -> Self {
        *stream.remote_addr()
    }
}
