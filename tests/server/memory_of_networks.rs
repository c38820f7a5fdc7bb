//! What the connections of one network hold leaves something to those of others.

use std::net::SocketAddr;
use std::time::Duration;

use tcpchan::server::{Acceptor, ChannelLimits, ConnectionLimits};
use tcpchan::{Channel, Config, Connection, MemoryBudget};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

const CROWD: &str = "10.0.0.1";
const OTHER: &str = "10.0.0.2";

/// An acceptor in virtual time, and peers of any address.
struct Server {
    budget: MemoryBudget,
    to: mpsc::UnboundedSender<std::io::Result<(DuplexStream, SocketAddr)>>,
    acceptor: Acceptor,
    /// What the application has accepted and not dropped.
    held: Vec<Channel>,
}

impl Server {
    /// The application's memory for a channel is so much.
    fn new(bytes: u64, limits: ConnectionLimits, memory_per_channel: u32) -> Server {
        let budget = MemoryBudget::new(bytes).unwrap();
        let config = Config::default().memory_budget(budget.clone());
        let (to, incoming) = mpsc::unbounded_channel();
        let incoming = tokio_stream::wrappers::UnboundedReceiverStream::new(incoming);
        let acceptor = Acceptor::from_incoming(incoming)
            .with_config(config)
            .with_connection_limits(limits)
            .with_channel_limits(ChannelLimits::default().memory_per_channel(memory_per_channel));
        Server {
            budget,
            to,
            acceptor,
            held: Vec::new(),
        }
    }

    fn connect(&self, from: &str) -> Connection {
        let (near, far) = duplex(1 << 16);
        let from = SocketAddr::new(from.parse().unwrap(), 1);
        self.to.send(Ok((far, from))).unwrap();
        Connection::client(near, Config::default())
    }

    /// So many peers of one network that open so many channels each; what they must keep.
    async fn crowd(&self, peers: usize, channels: usize) -> (Vec<Connection>, Vec<Channel>) {
        let crowd: Vec<_> = (0..peers).map(|_| self.connect(CROWD)).collect();
        let mut opened = Vec::new();
        for _ in 0..channels {
            for peer in &crowd {
                opened.extend(open(peer).await);
            }
        }
        (crowd, opened)
    }

    /// How many more channels come within a second.
    async fn accept(&mut self) -> usize {
        let before = self.held.len();
        let all = async {
            loop {
                self.held.push(self.acceptor.accept().await.0);
            }
        };
        let _ = timeout(SECOND, all).await;
        self.held.len() - before
    }
}

async fn open(client: &Connection) -> Option<Channel> {
    let mut channel = client.open().await.ok()?;
    channel.write_all(b"?").await.ok()?;
    Some(channel)
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_opens_all_it_can_leaves_other_networks_many_channels() {
    let mut server = Server::new(64 * MIB, ConnectionLimits::default(), 32 << 10);
    let _crowd = server.crowd(200, 64).await;
    assert!(server.accept().await > 500);
    let (other, mut opened) = (server.connect(OTHER), Vec::new());
    for _ in 0..20 {
        opened.extend(open(&other).await);
    }
    assert_eq!(server.accept().await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_is_not_read_leaves_a_quarter_of_what_it_could_have() {
    let mut server = Server::new(64 * MIB, ConnectionLimits::default(), 0);
    let crowd: Vec<_> = (0..50).map(|_| server.connect(CROWD)).collect();
    for peer in crowd {
        tokio::spawn(async move {
            let mut channel = peer.open().await.unwrap();
            let _ = channel.write_all(&vec![7; 2 << 20]).await;
            std::future::pending::<()>().await;
            drop((peer, channel));
        });
    }
    for _ in 0..5 {
        server.accept().await; // and they have time to write
    }
    let used = server.budget.used();
    assert!((34 * MIB..=38 * MIB).contains(&used), "{used}");
}

#[tokio::test(start_paused = true)]
async fn what_handlers_hold_of_a_network_counts_when_it_comes_again() {
    let mut server = Server::new(64 * MIB, ConnectionLimits::default(), 32 << 10);
    let mut most = 0;
    for _ in 0..6 {
        let crowd = server.crowd(20, 100).await;
        server.accept().await;
        drop(crowd); // the application keeps its channels
        most = server.budget.used();
    }
    // Three quarters of what is for all, the first channels, and reserves.
    assert!(most <= 50 * MIB, "{most}");
}

/// It is the least budget: the reserves of 32, of which the acceptor has one.
#[tokio::test(start_paused = true)]
async fn idle_connections_of_one_network_leave_others_a_quarter() {
    for (exempt, left) in [(OTHER, 8), (CROWD, 0)] {
        let limits = ConnectionLimits::default().exempt(exempt.parse().unwrap(), 32);
        let mut server = Server::new(MIB, limits.unwrap(), 0);
        let (_crowd, opened) = server.crowd(64, 1).await;
        assert_eq!(server.accept().await, 32 - left);
        let mut others = Vec::new();
        for _ in 0..left {
            let other = server.connect(OTHER);
            let channel = open(&other).await.unwrap();
            others.push((other, channel));
        }
        assert_eq!(server.accept().await, left);
        drop(opened);
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_is_exempt_may_have_the_memory_of_all() {
    let mut used = Vec::new();
    for exempt in [OTHER, CROWD] {
        let limits = ConnectionLimits::default().exempt(exempt.parse().unwrap(), 32);
        let mut server = Server::new(64 * MIB, limits.unwrap(), 32 << 10);
        let _crowd = server.crowd(20, 100).await;
        server.accept().await;
        used.push(server.budget.used());
    }
    assert!(used[1] > used[0] + 5 * MIB, "{used:?}");
}
