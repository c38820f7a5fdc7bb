//! Which congestion control a socket has.

use std::io;
use std::sync::OnceLock;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::explain;
use super::late::Found;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    /// [`PREFERRED`], where the socket has one of [`LOSS_BASED`] and may choose.
    Preferred,
    /// The same, once it pays.
    Late(Found),
    System,
    Named(String),
}

/// It neither takes a lost packet for a full link nor forgets, while a
/// connection is idle, what the link carries.
pub(super) const PREFERRED: &str = "bbr";

/// What systems have when nobody chose.
pub(super) const LOSS_BASED: [&str; 2] = ["cubic", "reno"];

impl Congestion {
    /// Sets it, unless it is not time yet.
    pub fn apply(&self, stream: &TcpStream, socket: &Socket) -> io::Result<()> {
        match self {
            Congestion::Named(name) => {
                let option = format!("congestion control {name:?}");
                return set(socket, name).map_err(|error| explain(&option, error));
            }
            Congestion::Preferred if is_to_choose(stream) => choose(socket),
            _ => {}
        }
        Ok(())
    }
}

/// On the same host pacing costs and nothing is gained.
pub(super) fn is_to_choose(stream: &TcpStream) -> bool {
    let is_remote = stream
        .peer_addr()
        .is_ok_and(|peer| !peer.ip().to_canonical().is_loopback());
    let name = name(&SockRef::from(stream)).unwrap_or_default();
    is_remote && LOSS_BASED.contains(&name.as_str()) && offer() != Offer::Missing
}

/// Whether sockets can have [`PREFERRED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Missing,
    Choosable,
    /// They have it unless they choose.
    Default,
}

/// What the system lets this process have. It is asked once: where there is none,
/// the kernel may look for a module each time.
pub(super) fn offer() -> Offer {
    static OFFER: OnceLock<Offer> = OnceLock::new();
    if let Some(offer) = OFFER.get() {
        return *offer;
    }
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) else {
        return Offer::Missing; // for now
    };
    *OFFER.get_or_init(|| match name(&socket).as_deref() {
        Some(PREFERRED) => Offer::Default,
        _ if set(&socket, PREFERRED).is_ok() => Offer::Choosable,
        _ => Offer::Missing,
    })
}

pub(super) fn choose(socket: &Socket) {
    let _ = set(socket, PREFERRED);
}

/// Its name, if the system tells.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn name(socket: &Socket) -> Option<String> {
    let name = String::from_utf8(socket.tcp_congestion().ok()?).ok()?;
    Some(name.trim_end_matches('\0').to_owned())
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn name(_: &Socket) -> Option<String> {
    None
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn set(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn set(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
