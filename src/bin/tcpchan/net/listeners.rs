//! The listeners of a process. A service that is reloaded takes its own again, so that no
//! client is refused in between.

use std::collections::HashMap;
use std::io;

#[cfg(unix)]
use socket2::SockRef;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::address::Address;
use super::listener::Listener;
use super::passed::{Held, Passed};
#[cfg(unix)]
use super::unix::{self, SocketFile};

/// Connections that wait to be accepted, as after a restart, when all clients come at once. Linux drops
/// those beyond, and they come again after a second; tokio's own number is 128.
#[cfg(unix)]
const BACKLOG: i32 = 4096;

/// Where a service listens. A free port is its service's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub address: String,
    /// Permissions of a unix socket's file.
    mode: Option<u32>,
    owner: Option<(String, usize)>,
}

impl Place {
    /// Where a service goes to instead of listening.
    pub fn dialled(service: &str, number: usize, address: &str) -> Self {
        Place {
            address: address.to_owned(),
            mode: None,
            owner: Some((service.to_owned(), number)),
        }
    }

    /// The place of the service's address with this number.
    pub fn new(service: &str, number: usize, address: &str, mode: Option<u32>) -> Self {
        let is_free = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port == "0");
        Place {
            address: address.to_owned(),
            mode,
            owner: is_free.then(|| (service.to_owned(), number)),
        }
    }

    /// Whether the system may not give both: the same file, or the same port.
    fn overlaps(&self, other: &Place) -> bool {
        let port = |place: &Place| {
            place
                .address
                .rsplit_once(':')
                .map(|(_, port)| port.to_owned())
        };
        match Address::of(&self.address).is_tcp() && Address::of(&other.address).is_tcp() {
            true => port(self) == port(other) && self.owner.is_none(),
            false => self.address == other.address,
        }
    }
}

const OWN: &str = "this process listens there with another unix-mode, or at an address that \
     includes it: that change needs a restart";

/// What listens. Each user has a duplicate of the descriptor.
#[derive(Default)]
pub struct Listeners {
    passed: Passed,
    bound: HashMap<Place, Bound>,
}

struct Bound {
    held: Held,
    #[cfg(unix)]
    _file: Option<SocketFile>,
}

impl Listeners {
    pub fn new(passed: Passed) -> Self {
        Listeners {
            passed,
            bound: HashMap::new(),
        }
    }

    /// The listeners of a place, new or of sockets that are there: one, but for names of passed
    /// ones.
    pub async fn take(&mut self, place: &Place) -> io::Result<Vec<Listener>> {
        let address = Address::of(&place.address);
        if let Address::Passed(name) = &address {
            let taken: Vec<_> = self
                .passed
                .named(name)
                .map(listener)
                .collect::<Result<_, _>>()?;
            return match taken.is_empty() {
                true => Err(self.not_passed(name)),
                false => Ok(taken),
            };
        }
        if !self.bound.contains_key(place) {
            let bound = self.bind(&address, place).await?;
            self.bound.insert(place.clone(), bound);
        }
        Ok(vec![listener(&self.bound[place].held)?])
    }

    /// What this process has itself is told as that.
    async fn bind(&self, address: &Address, place: &Place) -> io::Result<Bound> {
        let is_own = self.bound.keys().any(|own| own.overlaps(place));
        if is_own && !address.is_tcp() {
            return Err(io::Error::other(OWN));
        }
        bind(address, place.mode).await.map_err(|error| {
            let is_taken = error.kind() == io::ErrorKind::AddrInUse;
            match is_own && is_taken {
                true => io::Error::other(OWN),
                false => error,
            }
        })
    }

    fn not_passed(&self, name: &str) -> io::Error {
        let names: Vec<_> = self.passed.names().collect();
        let text = match names.is_empty() {
            true => "no sockets were passed to this process (LISTEN_FDS)".to_owned(),
            false => format!("no socket {name} was passed, only: {}", names.join(", ")),
        };
        io::Error::new(io::ErrorKind::NotFound, text)
    }

    /// Closes those that are not kept, once their users close them.
    pub fn retain(&mut self, is_kept: impl Fn(&Place) -> bool) {
        self.bound.retain(|place, _| is_kept(place));
    }

    /// The names of passed sockets that are not among these.
    pub fn unused<'a>(&'a self, used: &'a [Place]) -> impl Iterator<Item = &'a str> {
        let is_used = |name: &&str| {
            let address = format!("systemd:{name}");
            used.iter().any(|place| place.address == address)
        };
        self.passed.names().filter(move |name| !is_used(name))
    }
}

#[cfg_attr(not(unix), allow(unused_variables))]
async fn bind(address: &Address, mode: Option<u32>) -> io::Result<Bound> {
    match address {
        #[cfg(unix)]
        Address::Unix(name) => {
            let (listener, file) = unix::listen(name, mode)?;
            Ok(Bound {
                held: Held::Unix(listener),
                _file: file,
            })
        }
        Address::Tcp(address) => Ok(Bound {
            held: Held::Tcp(listen(address).await?),
            #[cfg(unix)]
            _file: None,
        }),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn listen(address: &str) -> io::Result<std::net::TcpListener> {
    let listener = TcpListener::bind(address).await?.into_std()?;
    #[cfg(unix)]
    SockRef::from(&listener).listen(BACKLOG)?;
    Ok(listener)
}

fn listener(held: &Held) -> io::Result<Listener> {
    Ok(match held.try_clone()? {
        Held::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
        #[cfg(unix)]
        Held::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
    })
}
