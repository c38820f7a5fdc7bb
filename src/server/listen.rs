//! The tasks behind an acceptor: one for the listener, one for each connection.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::ready;
use std::time::Duration;

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, error::SendError};
use tokio::time::Instant;

use super::drain::{Mark, Membership, Token};
use super::newcomers::{Newcomers, Place};
use super::patience::{Freed, Patient, is_of_one_connection};
use super::peer::{Peer, PeerInfo};
use crate::config::Config;
use crate::driver::{Channel, Connection};
use crate::observability::{self, Origin};
use crate::proto::Role;

/// Channels of a connection that are handed on before others have their turn, since
/// each becomes a task of the application's with a request to serve.
const TURN: u32 = 4;

/// How many where a turn of the others takes so long: a burst is not to wait for
/// many of those.
const TURN_AMONG_MANY: u32 = 16;
const LONG: Duration = Duration::from_micros(500);

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

pub(super) struct Listener {
    pub config: Config,
    pub to: Sender,
    pub member: Membership,
    pub freed: Freed,
    newcomers: Newcomers,
    connections: u64,
}

impl Listener {
    pub fn new(config: Config, to: Sender, member: Membership) -> Self {
        Listener {
            newcomers: Newcomers::new(config.get_max_handshakes() as usize),
            config,
            to,
            member,
            freed: Freed::default(),
            connections: 0,
        }
    }

    /// The connections of a stream, until the acceptor is gone or drains.
    pub fn patient<S>(&self, incoming: S) -> Patient<S> {
        let (to, mut call) = (self.to.clone(), self.member.call.clone());
        Patient::new(incoming, self.freed.clone(), async move {
            tokio::select! {
                () = to.closed() => {}
                _ = call.asked() => {}
            }
        })
    }

    /// Takes connections until there are no more. The stream is patient: after an error
    /// it is asked for the next at once.
    pub async fn run<S, T, P>(mut self, incoming: S)
    where
        S: Stream<Item = io::Result<(T, P)>>,
        P: Into<Peer>,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut incoming = pin!(incoming);
        loop {
            let next = poll_fn(|cx| {
                ready!(self.newcomers.poll_place(cx));
                incoming.as_mut().poll_next(cx)
            });
            match next.await {
                Some(Ok((io, peer))) => {
                    let (mut peer, config): (Peer, _) = (peer.into(), self.config.clone());
                    peer.look_at(&io);
                    let place = self.newcomers.enter(peer.addr.ip());
                    self.serve(peer, Some(place), |origin| {
                        Connection::spawn(Role::Server, io, config, origin)
                    });
                }
                Some(Err(error)) if is_of_one_connection(&error) => {}
                Some(Err(error)) => {
                    observability::accept_failed(&error);
                    self.newcomers.thin();
                }
                None => return,
            }
        }
    }

    /// Takes the connection's channels until its end. It gives up its place
    /// among those that have said nothing once it has said its hello.
    pub fn serve(
        &mut self,
        peer: Peer,
        place: Option<Place>,
        make: impl FnOnce(Origin) -> Connection,
    ) -> Connection {
        self.connections += 1;
        let (number, to) = (self.connections, self.to.clone());
        let connection = make(Origin::accepted(peer.addr, number));
        let served = connection.clone();
        let (member, freed) = (self.member.clone(), self.freed.clone());
        let (call, live, mark) = (member.call, member.live, member.mark);
        let age = self.config.get_max_connection_age();
        tokio::spawn(async move {
            let feed = Feed {
                from: &connection,
                number,
                peer,
                to,
                mark: mark.clone(),
            };
            let run = async {
                tokio::select! {
                    () = feed.run(member.open) => {}
                    () = give_up_silent(&connection, place) => {}
                    () = grow_old(&connection, age) => {}
                }
                connection.closed().await;
            };
            tokio::select! {
                biased;
                () = run => {}
                () = call.obey(&connection, &mark) => connection.closed().await,
            }
            freed.tell();
            drop(live);
        });
        served
    }
}

/// Ends the connection if its place is taken before its peer has said its
/// hello.
async fn give_up_silent(connection: &Connection, place: Option<Place>) {
    if let Some(mut place) = place {
        tokio::select! {
            biased;
            () = connection.greeted() => {}
            () = place.taken() => return connection.give_up_hello(),
        }
    }
    std::future::pending().await
}

/// Drains the connection at its age, and closes it later.
async fn grow_old(connection: &Connection, age: Option<(Duration, Duration)>) {
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
struct Feed<'a> {
    from: &'a Connection,
    number: u64,
    peer: Peer,
    to: Sender,
    mark: Mark,
}

impl Feed<'_> {
    /// Until the connection ends or the acceptor is gone. `open` is held as
    /// long as a channel can come, and goes along with each.
    async fn run(self, open: Token) {
        let mut open = Some(open);
        let mut left = TURN;
        loop {
            if left == 0 {
                left = turn_of_others().await;
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
            if let Err(SendError(accepted)) = self.to.send(self.accepted(channel, &open)).await {
                accepted.channel.refuse(); // it came as the acceptor went
                break;
            }
        }
        drop((self.to, open)); // what still waits there goes with the last sender
        retire(self.from).await;
    }

    fn accepted(&self, channel: Channel, open: &Option<Token>) -> Accepted {
        self.mark.unseen(&channel);
        Accepted {
            info: self.peer.info(self.number, channel.id()),
            channel,
            _open: open.clone(),
        }
    }
}

/// Lets others run; how many channels are handed on then.
async fn turn_of_others() -> u32 {
    let start = Instant::now();
    tokio::task::yield_now().await;
    match start.elapsed() < LONG {
        true => TURN,
        false => TURN_AMONG_MANY,
    }
}

/// Lets a connection's channels come to their end, and takes no more.
async fn retire(connection: &Connection) {
    connection.drain();
    connection.refuse().await;
}
