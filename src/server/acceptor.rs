use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::driver::{Channel, Connection};

/// Channels that wait for [`Acceptor::accept`], of all connections. Those
/// behind them wait in their own connection, bounded by its `max_channels`.
const BACKLOG: usize = 1024;

/// How long to wait before the listener is tried again when the system is out
/// of file descriptors or memory: what hyper's and axum's servers wait.
const RETRY: Duration = Duration::from_secs(1);

/// Turns a listener of connections into a listener of channels.
///
/// When it is dropped, its connections drain: channels that were accepted go on
/// to their end, and no new ones are taken.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    config: Config,
    connections: u64,
    sender: mpsc::Sender<(Channel, PeerInfo)>,
    receiver: mpsc::Receiver<(Channel, PeerInfo)>,
}

/// Where a channel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The peer's address.
    pub addr: SocketAddr,
    /// The connection, counted from 1 by its [`Acceptor`].
    pub connection: u64,
    /// The channel's number on its connection.
    pub channel: u32,
}

impl Acceptor {
    /// An acceptor of the listener's connections.
    pub fn new(listener: TcpListener, config: Config) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        Acceptor {
            listener,
            config,
            connections: 0,
            sender,
            receiver,
        }
    }

    /// The next channel of any connection. It never fails, and takes new
    /// connections while it waits. Cancel safe.
    pub async fn accept(&mut self) -> (Channel, PeerInfo) {
        loop {
            tokio::select! {
                Some(channel) = self.receiver.recv() => return channel,
                result = self.listener.accept() => match result {
                    Ok((stream, addr)) => self.serve(stream, addr),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(_) => tokio::time::sleep(RETRY).await,
                },
            }
        }
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn serve(&mut self, stream: TcpStream, addr: SocketAddr) {
        // Without it small frames wait for acknowledgements; a socket that is
        // gone already says so again when it is read.
        let _ = stream.set_nodelay(true);
        self.connections += 1;
        let connection = Connection::server(stream, self.config.clone());
        let sender = self.sender.clone();
        tokio::spawn(feed(connection, self.connections, addr, sender));
    }
}

/// Hands a connection's channels on until it ends or the acceptor is gone.
async fn feed(
    from: Connection,
    connection: u64,
    addr: SocketAddr,
    to: mpsc::Sender<(Channel, PeerInfo)>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = from.accept() => accepted,
            () = to.closed() => return from.drain(),
        };
        let Some(accepted) = accepted else { return };
        let channel = accepted.id();
        let info = PeerInfo {
            addr,
            connection,
            channel,
        };
        if to.send((accepted, info)).await.is_err() {
            return from.drain();
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionAborted | ConnectionReset
    )
}
