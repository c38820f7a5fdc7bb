//! Which congestion control a socket has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;

/// It neither takes a lost packet for a full link nor forgets, while a
/// connection is idle, what the link carries.
pub(super) const PREFERRED: &str = "bbr";

/// What systems have when nobody chose.
pub(super) const LOSS_BASED: [&str; 2] = ["cubic", "reno"];

/// Whether a socket has what systems have when nobody chose, and its peer is another
/// host. On the same one pacing costs and nothing is gained.
pub(super) fn is_choosable(stream: &TcpStream) -> bool {
    let name = name(&SockRef::from(stream)).unwrap_or_default();
    let is_ours = |peer: SocketAddr| {
        let ours = stream.local_addr().is_ok_and(|ours| ours.ip() == peer.ip());
        ours || is_of_this_host(peer)
    };
    LOSS_BASED.contains(&name.as_str()) && stream.peer_addr().is_ok_and(|peer| !is_ours(peer))
}

/// Whether the address is one of this host, which then is also where packets to it come
/// from. Nothing is sent.
fn is_of_this_host(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        match ip {
            IpAddr::V4(_) => socket.connect((ip, addr.port())).ok()?,
            IpAddr::V6(_) => socket.connect(addr).ok()?, // with its scope
        }
        socket.local_addr().ok()
    };
    ip.is_loopback() || from().is_some_and(|from| from.ip() == ip)
}

/// Whether sockets can have [`PREFERRED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Or it is not known yet.
    Missing,
    Choosable,
    /// They have it unless they choose.
    Default,
}

/// What the system lets this process have. It is asked once. Where the kernel may have to
/// load a module for the answer, a thread waits for that.
pub(super) fn offer() -> Offer {
    static OFFER: OnceLock<Offer> = OnceLock::new();
    static ASKED: AtomicBool = AtomicBool::new(false);
    if let Some(offer) = OFFER.get() {
        return *offer;
    }
    if is_loaded() {
        return *OFFER.get_or_init(ask);
    }
    if !ASKED.swap(true, Relaxed) {
        let asks = || {
            let _ = OFFER.set(ask());
        };
        // Where there can be no thread there is no BBR.
        drop(
            thread::Builder::new()
                .name("tcpchan-bbr".into())
                .spawn(asks),
        );
    }
    Offer::Missing
}

fn ask() -> Offer {
    let Ok(socket) = socket() else {
        return Offer::Missing;
    };
    match name(&socket).as_deref() {
        Some(PREFERRED) => Offer::Default,
        _ if set(&socket, PREFERRED).is_ok() => Offer::Choosable,
        _ => Offer::Missing,
    }
}

/// One that is not connected. There are hosts without IPv4.
pub(super) fn socket() -> io::Result<Socket> {
    let of = |domain| Socket::new(domain, Type::STREAM, None);
    of(Domain::IPV4).or_else(|_| of(Domain::IPV6))
}

/// Whether [`PREFERRED`] is in the kernel. Elsewhere nothing is loaded for who asks.
fn is_loaded() -> bool {
    const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let is_in = |names: String| names.split_whitespace().any(|name| name == PREFERRED);
    !cfg!(target_os = "linux") || std::fs::read_to_string(AVAILABLE).is_ok_and(is_in)
}

/// Sets [`PREFERRED`], if the system lets this process.
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
