//! The header of the PROXY protocol: what a proxy says of its client ahead of the client's
//! bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::AsyncRead;

use crate::rewind::Rewind;

/// The longest header of version 1, with its line's end.
const MOST_V1: usize = 107;

/// Bytes of version 2 that tell how long the header is.
const START_V2: usize = 16;

/// The longest header of version 2 that is taken: nginx takes as much. Addresses need 52, and
/// what proxies add, such as a client's certificate, some more.
const MOST_V2: usize = 4096;

const PREFIX_V1: &[u8] = b"PROXY ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    /// Of the header that a stream begins with, if it does. No more is read than tells that,
    /// and nothing is taken. Cancel safe.
    pub async fn of<T: AsyncRead + Unpin>(io: &mut Rewind<T>) -> io::Result<Option<Self>> {
        loop {
            let head = io.head();
            if head.starts_with(PREFIX_V1) {
                return Ok(Some(Version::One));
            }
            if head.starts_with(v2::PROTOCOL_PREFIX) {
                return Ok(Some(Version::Two));
            }
            if !PREFIX_V1.starts_with(head) && !v2::PROTOCOL_PREFIX.starts_with(head) {
                return Ok(None);
            }
            io.fill(START_V2).await?;
        }
    }

    /// Takes the header, and not a byte behind it. The client's address, if the header tells
    /// of one. Cancel safe until it is ready.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the header is too long or not as the protocol says.
    pub async fn take<T>(self, io: &mut Rewind<T>) -> io::Result<Option<SocketAddr>>
    where
        T: AsyncRead + Unpin,
    {
        loop {
            let (len, next) = match self {
                Version::One => line(io.head())?,
                Version::Two => block(io.head())?,
            };
            match len {
                Some(len) if len <= io.head().len() => {
                    let client = self.parse(&io.take_head(len))?;
                    return Ok(client.map(canonical));
                }
                _ => io.fill(next).await?,
            }
        }
    }

    fn parse(self, header: &[u8]) -> io::Result<Option<SocketAddr>> {
        match self {
            // What follows is to be skipped.
            Version::One if is_unknown(header) => Ok(None),
            Version::One => {
                let header = v1::Header::try_from(header).map_err(invalid)?;
                Ok(match header.addresses {
                    v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
                    v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
                    v1::Addresses::Unknown => None,
                })
            }
            // Of LOCAL all that follows is to be skipped, whatever it is.
            Version::Two if header[12] == v2::Version::Two | v2::Command::Local => Ok(None),
            Version::Two => {
                let header = v2::Header::try_from(header).map_err(invalid)?;
                Ok(match header.addresses {
                    _ if header.protocol != v2::Protocol::Stream => None,
                    v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
                    v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
                    v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
                })
            }
        }
    }
}

fn is_unknown(line: &[u8]) -> bool {
    let after = line.strip_prefix(b"PROXY UNKNOWN");
    after.is_some_and(|after| after.starts_with(b" ") || after == b"\r\n")
}

/// How long a header is, once that is known, and how far to read until then.
type Length = (Option<usize>, usize);

fn line(head: &[u8]) -> io::Result<Length> {
    let head = &head[..head.len().min(MOST_V1)];
    let end = head.windows(2).position(|two| two == b"\r\n");
    match end {
        None if head.len() == MOST_V1 => Err(invalid(format!(
            "its line does not end within {MOST_V1} bytes"
        ))),
        end => Ok((end.map(|end| end + 2), MOST_V1)),
    }
}

fn block(head: &[u8]) -> io::Result<Length> {
    let Some(&[high, low]) = head.get(14..START_V2) else {
        return Ok((None, START_V2));
    };
    let len = START_V2 + usize::from(u16::from_be_bytes([high, low]));
    if len > MOST_V2 {
        return Err(invalid(format!(
            "it has {len} bytes, and at most {MOST_V2} are taken"
        )));
    }
    Ok((Some(len), len))
}

/// An IPv4 address as such, also where the proxy has it as IPv6.
fn canonical(addr: SocketAddr) -> SocketAddr {
    let ip: IpAddr = addr.ip().to_canonical();
    SocketAddr::new(ip, addr.port())
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    let text = format!("bad PROXY header: {why}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// Bytes that come so many at a time, and no more after them.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.1.min(self.0.len()).min(buf.remaining());
            let (piece, rest) = self.0.split_at(count);
            buf.put_slice(piece);
            self.0 = rest;
            Poll::Ready(Ok(()))
        }
    }

    /// What a stream tells, and what is left of it.
    fn told(bytes: &[u8], piece: usize) -> (Result<Option<SocketAddr>, String>, Vec<u8>) {
        let mut io = Rewind::new(Pieces(bytes, piece));
        let read = async {
            match Version::of(&mut io).await? {
                Some(version) => version.take(&mut io).await,
                None => Ok(None),
            }
        };
        let Poll::Ready(told) = pin!(read).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits, though no more comes")
        };
        let left = [io.head(), io.get_ref().0].concat();
        (told.map_err(|error| error.to_string()), left)
    }

    fn beginnings() -> impl Strategy<Value = Vec<u8>> {
        let lines = [
            "",
            "PROXY ",
            "PROXY UNKNOWN",
            "PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n",
        ];
        let line =
            proptest::sample::select(lines.to_vec()).prop_map(|line| line.as_bytes().to_vec());
        let block = (0u8..0x24, 0u8..0x40, 0u16..70).prop_map(|(command, family, len)| {
            let len = len.to_be_bytes();
            [v2::PROTOCOL_PREFIX, &[command, family], &len].concat()
        });
        prop_oneof![line, block]
    }

    proptest! {
        /// However it is cut into pieces, and whatever it says: an answer, and what is behind
        /// the header stays.
        #[test]
        fn any_bytes_are_told_the_same_in_any_pieces(
            first in beginnings(),
            rest in vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\r'), Just(b'\n')], 0..300),
            piece in 1usize..40,
        ) {
            let bytes = [first, rest].concat();
            let whole = told(&bytes, usize::MAX);
            prop_assert!(bytes.ends_with(&whole.1));
            if whole.0.is_ok() {
                prop_assert_eq!(told(&bytes, piece), whole);
            } else {
                prop_assert_eq!(told(&bytes, piece).0, whole.0);
            }
        }
    }
}
