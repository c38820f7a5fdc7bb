//! `axum::serve(acceptor, app)`.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use super::acceptor::Acceptor;
use super::peer::{Peer, PeerInfo};
use super::shared_port::{SharedIo, SharedPort};
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
        Ok(Peer::from(addr).info(0, 0))
    }
}

impl Listener for SharedPort {
    type Io = SharedIo;
    type Addr = PeerInfo;

    async fn accept(&mut self) -> (SharedIo, PeerInfo) {
        SharedPort::accept(self).await
    }

    /// The listener's address; connection and channel are 0.
    fn local_addr(&self) -> io::Result<PeerInfo> {
        let addr = SharedPort::local_addr(self)?;
        Ok(Peer::from(addr).info(0, 0))
    }
}

impl Connected<IncomingStream<'_, Acceptor>> for PeerInfo {
    fn connect_info(stream: IncomingStream<'_, Acceptor>) -> Self {
        stream.remote_addr().clone()
    }
}

impl Connected<IncomingStream<'_, SharedPort>> for PeerInfo {
    fn connect_info(stream: IncomingStream<'_, SharedPort>) -> Self {
        stream.remote_addr().clone()
    }
}
