//! The PROXY protocol, version 2: who the client is, before its first byte.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ppp::v2::{Addresses, Builder, Command, Header, Protocol, Version};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a PROXY header before its addresses: signature, version, families and length.
const START: usize = 16;

/// Bytes after [`START`] that are taken: addresses, and more than what is
/// commonly told with them. The protocol would have 65,535.
const MOST: usize = 2048;

/// A header of a connection from `client` to `local`. A client without an address is nobody.
pub fn header(client: Option<SocketAddr>, local: Option<SocketAddr>) -> io::Result<Vec<u8>> {
    let Some(client) = client else {
        return header_of_nobody();
    };
    let client = canonical(client);
    let local = local.map(canonical);
    let same = local.filter(|local| local.is_ipv4() == client.is_ipv4());
    let unspecified: IpAddr = match client {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let port = local.map_or(0, |local| local.port());
    let local = same.unwrap_or(SocketAddr::new(unspecified, port));
    let (version, protocol) = (Version::Two | Command::Proxy, Protocol::Stream);
    Builder::with_addresses(version, protocol, (client, local)).build()
}

/// A header of a connection that is on behalf of nobody.
pub fn header_of_nobody() -> io::Result<Vec<u8>> {
    let (version, protocol) = (Version::Two | Command::Local, Protocol::Unspecified);
    Builder::with_addresses(version, protocol, Addresses::Unspecified).build()
}

/// IPv4 as such, also where the socket has it as IPv6.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Reads a header, and nothing behind it.
pub async fn read_header(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; START];
    from.read_exact(&mut bytes).await?;
    if !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(invalid("no PROXY header of version 2"));
    }
    let len = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if len > MOST {
        return Err(invalid("a PROXY header that is too long"));
    }
    bytes.resize(START + len, 0);
    from.read_exact(&mut bytes[START..]).await?;
    Header::try_from(&bytes[..]).map_err(invalid)?;
    Ok(bytes)
}

/// The client that a header tells of.
pub fn client_of(header: &[u8]) -> Option<SocketAddr> {
    let header = Header::try_from(header).ok()?;
    match header.addresses {
        _ if header.command != Command::Proxy => None,
        Addresses::IPv4(all) => Some((all.source_address, all.source_port).into()),
        Addresses::IPv6(all) => Some((all.source_address, all.source_port).into()),
        _ => None,
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
