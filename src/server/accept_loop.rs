//! The tasks behind an acceptor: one for the listener, one for each connection.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::ready;
use std::time::Duration;

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, error::SendError};
use tokio::time::timeout;

use super::accept_retry::{AcceptRetry, Freed, is_of_one_connection};
use super::admitted::{Admitted, refuse};
use super::channel_limits::{Gate, Refused};
use super::connections::Connections;
use super::drain::{DrainGuard, Member, Token};
use super::half_open::{GRACE, HalfOpenLimit, Permit};
use super::peer::{Peer, PeerInfo};
use super::settings::Settings;
use crate::driver::{Channel, Connection};
use crate::memory_budget::Lease;
use crate::observability::{self, Origin};
use crate::proto::{ConnectionError, ErrorCode, Role};

/// Channels of one connection that are forwarded before the task yields. Each becomes a task of
/// the application with a request to serve. It is as many as a connection wakes of its readers
/// at once: their answers share a write. With 4, a request took three times as many system calls.
const BATCH: u32 = 16;

/// The same while none of the connection's channels has come to its end: there are no answers
/// that could share a write, and a flood of requests that wait or are reset would delay others.
const UNANSWERED_BATCH: u32 = 4;

/// A channel that waits for [`Acceptor::accept`].
#[derive(Debug)]
pub(super) struct Accepted {
    pub channel: Channel,
    pub info: PeerInfo,
    /// A drain waits while it does.
    pub _open: Option<Token>,
}

impl From<Accepted> for (Channel, PeerInfo) {
    fn from(accepted: Accepted) -> Self {
        (accepted.channel, accepted.info)
    }
}

type Sender = mpsc::Sender<Accepted>;

pub(super) struct AcceptLoop {
    pub settings: Settings,
    pub to: Sender,
    pub member: Member,
    pub freed: Freed,
    listed: Connections,
    half_open: HalfOpenLimit,
    connections: u64,
}

impl AcceptLoop {
    pub fn new(settings: Settings, to: Sender, member: Member, listed: Connections) -> Self {
        AcceptLoop {
            half_open: HalfOpenLimit::new(settings.config.get_max_handshakes() as usize),
            settings,
            to,
            member,
            freed: Freed::default(),
            listed,
            connections: 0,
        }
    }

    /// The connections of a stream that the limits admit, until the acceptor is gone or
    /// drains.
    pub fn retrying<S, R, T>(
        &self,
        incoming: S,
        register: fn(R) -> io::Result<T>,
    ) -> AcceptRetry<Admitted<S, R, T>>
    where
        S: Stream<Item = io::Result<(R, SocketAddr)>>,
        R: 'static,
        T: 'static,
    {
        let incoming = Admitted::new(incoming, register, self.settings.clone());
        let (to, mut signal) = (self.to.clone(), self.member.signal.clone());
        AcceptRetry::new(incoming, self.freed.clone(), async move {
            tokio::select! {
                () = to.closed() => {}
                _ = signal.requested() => {}
            }
        })
    }

    /// Takes connections until there are no more. The stream is patient: after an error
    /// it is asked for the next at once.
    pub async fn run<S, T>(mut self, incoming: S)
    where
        S: Stream<Item = io::Result<(T, Peer)>>,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut incoming = pin!(incoming);
        // For the next connection that is served.
        let mut lease = None;
        loop {
            if lease.is_none() {
                lease = self.lease().await;
            }
            let next = poll_fn(|cx| {
                ready!(self.half_open.poll_permit(cx));
                incoming.as_mut().poll_next(cx)
            });
            match next.await {
                Some(Ok((io, mut peer))) => {
                    let config = self.settings.config.clone();
                    peer.look_at(&io);
                    let memory = peer.memory(config.get_memory_budget());
                    if lease.as_mut().is_some_and(|lease| !lease.count_for(memory)) {
                        self.half_open.evict_silent_of(peer.addr.ip());
                        refuse(io, peer.addr, "memory_budget");
                        continue;
                    }
                    let lease = lease.take(); // it counts for the network from here on
                    let Some(permit) = self.half_open.acquire(peer.addr.ip()) else {
                        refuse(io, peer.addr, "max_handshakes");
                        continue;
                    };
                    self.serve(peer, Some(permit), |origin| {
                        Connection::spawn_with(Role::Server, io, config, origin, lease)
                    });
                }
                Some(Err(error)) if is_of_one_connection(&error) => {}
                Some(Err(error)) => {
                    observability::accept_failed(&error);
                    self.half_open.evict_silent();
                }
                None => return,
            }
        }
    }

    /// Memory for another connection, for which those that come wait in the system's
    /// backlog, and silent ones are sent away. None once no more are waited for.
    async fn lease(&mut self) -> Option<Lease> {
        let budget = self.settings.config.get_memory_budget();
        if let Some(lease) = budget.try_lease() {
            return Some(lease);
        }
        observability::accept_failed(&io::Error::other(ConnectionError::OutOfMemory));
        let mut signal = self.member.signal.clone();
        let lease = async {
            loop {
                self.half_open.evict_silent();
                if let Ok(lease) = timeout(GRACE, budget.lease()).await {
                    return lease;
                }
            }
        };
        tokio::select! {
            biased;
            lease = lease => Some(lease),
            () = self.to.closed() => None,
            _ = signal.requested() => None,
        }
    }

    /// Takes the connection's channels until its end. It gives up its permit
    /// among those that have said nothing once it has said its hello.
    pub fn serve(
        &mut self,
        peer: Peer,
        permit: Option<Permit>,
        make: impl FnOnce(Origin) -> Connection,
    ) -> Connection {
        self.connections += 1;
        let (number, to) = (self.connections, self.to.clone());
        let connection = make(Origin::accepted(peer.addr, number));
        let served = connection.clone();
        let listed = self.listed.list(&connection, &peer);
        let (member, freed) = (self.member.clone(), self.freed.clone());
        let (signal, live, guard) = (member.signal, member.live, member.guard);
        let age = self.settings.config.get_max_connection_age();
        let budget = self.settings.config.get_memory_budget();
        let gate = self.settings.gate(peer.memory(budget));
        tokio::spawn(async move {
            let forwarder = Forwarder {
                from: &connection,
                number,
                peer: peer.clone(),
                gate,
                to,
                guard: guard.clone(),
            };
            let run = async {
                tokio::select! {
                    () = forwarder.run(member.open) => {}
                    () = end_if_evicted(&connection, permit) => {}
                    () = close_at_age(&connection, age) => {}
                }
                if connection.error().is_some_and(|error| is_costly(&error)) {
                    peer.violated();
                }
                connection.closed().await;
            };
            tokio::select! {
                biased;
                () = run => {}
                () = signal.obey(&connection, &guard) => connection.closed().await,
            }
            freed.tell();
            drop((live, listed));
        });
        served
    }
}

/// Whether the peer has broken a rule, and could do so behind a handshake alone. What says no
/// valid hello, such as a health check by HTTP or a scanner, costs no more than a connection.
fn is_costly(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Violation { code, .. } if *code != ErrorCode::HANDSHAKE)
}

/// Ends the connection if its permit is taken before its peer has said its
/// hello.
async fn end_if_evicted(connection: &Connection, permit: Option<Permit>) {
    if let Some(mut permit) = permit {
        tokio::select! {
            biased;
            () = connection.greeted() => {}
            () = permit.evicted() => return connection.give_up_hello(),
        }
    }
    std::future::pending().await
}

/// Drains the connection at its age, and closes it later.
async fn close_at_age(connection: &Connection, age: Option<(Duration, Duration)>) {
    let Some((age, grace)) = age else {
        return std::future::pending().await;
    };
    // What began together is not to end together.
    tokio::time::sleep(age.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    connection.drain();
    tokio::time::sleep(grace).await;
    connection.close("it has reached its age");
}

/// Hands a connection's channels on.
struct Forwarder<'a> {
    from: &'a Connection,
    number: u64,
    peer: Peer,
    gate: Gate,
    to: Sender,
    guard: DrainGuard,
}

impl Forwarder<'_> {
    /// Until the connection ends or the acceptor is gone. `open` is held as
    /// long as a channel can come, and goes along with each.
    async fn run(mut self, open: Token) {
        let mut open = Some(open);
        let (mut left, mut served) = (UNANSWERED_BATCH, 0);
        loop {
            if left == 0 {
                tokio::task::yield_now().await;
                let now = self.from.stats().served();
                left = match now > served {
                    true => BATCH,
                    false => UNANSWERED_BATCH,
                };
                served = served.max(now);
            }
            left -= 1;
            let channel = tokio::select! {
                biased;
                () = self.to.closed() => break,
                accepted = self.from.accept() => accepted,
                () = self.from.drained(), if open.is_some() => {
                    open = None;
                    continue;
                }
            };
            let Some(channel) = channel else { return };
            let Some(channel) = self.limited(channel).await else {
                continue;
            };
            if let Err(SendError(accepted)) = self.to.send(self.accepted(channel, &open)).await {
                accepted.channel.refuse(); // it came as the acceptor went
                break;
            }
        }
        drop((self.to, open)); // what still waits there goes with the last sender
        drain_and_refuse(self.from).await;
    }

    /// The channel, once the limits have room for it. None if it was refused.
    async fn limited(&mut self, mut channel: Channel) -> Option<Channel> {
        let place = tokio::select! {
            biased;
            place = self.gate.pass() => place,
            () = self.to.closed() => Err(Refused),
            () = self.from.closed() => Err(Refused),
        };
        match place {
            Ok(place) => {
                channel.hold_place(place);
                Some(channel)
            }
            Err(Refused) => {
                channel.refuse();
                None
            }
        }
    }

    fn accepted(&self, channel: Channel, open: &Option<Token>) -> Accepted {
        self.guard.hold(&channel);
        Accepted {
            info: self.peer.info(self.number, channel.id()),
            channel,
            _open: open.clone(),
        }
    }
}

/// Lets a connection's channels come to their end, and takes no more.
async fn drain_and_refuse(connection: &Connection) {
    connection.drain();
    connection.refuse().await;
}
