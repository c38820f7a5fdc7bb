//! Finds the server of another host, and how far it is.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;
use crate::server::Target;

/// How long one attempt to connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// TCP connects whose median is the round trip.
pub const CONNECTS: usize = 7;

/// A server on another host.
pub struct Remote {
    pub target: Target,
    pub rtt: Duration,
}

impl Remote {
    /// Looks the address up, takes the first that answers, and measures it.
    pub async fn find(addr: &str, tcpchan_port: Option<u16>) -> Result<Remote, Failure> {
        let unreachable = |error: Failure| format!("{addr} can't be reached: {error}");
        let plain = first_that_answers(addr).await.map_err(unreachable)?;
        let mut tcpchan = plain;
        tcpchan.set_port(self::tcpchan_port(plain, tcpchan_port)?);
        let mut times = Vec::new();
        for _ in 0..CONNECTS {
            times.push(connect(plain).await.map_err(unreachable)?);
        }
        times.sort();
        Ok(Remote {
            target: Target { plain, tcpchan },
            rtt: times[CONNECTS / 2],
        })
    }
}

async fn first_that_answers(addr: &str) -> Result<SocketAddr, Failure> {
    let mut last = "the name has no address".into();
    for addr in tokio::net::lookup_host(addr).await? {
        match connect(addr).await {
            Ok(_) => return Ok(addr),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// How long a TCP connection took to set up: one round trip.
async fn connect(addr: SocketAddr) -> Result<Duration, Failure> {
    let start = Instant::now();
    within(CONNECT_TIMEOUT, TcpStream::connect(addr)).await?;
    Ok(start.elapsed())
}

/// Gives up after `limit`.
pub async fn within<T, E>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure>
where
    E: Into<Failure>,
{
    match timeout(limit, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs()).into()),
    }
}

/// The port for tcpchan: as told, or the one after that for plain HTTP.
pub fn tcpchan_port(plain: SocketAddr, told: Option<u16>) -> Result<u16, Failure> {
    told.or(plain.port().checked_add(1))
        .ok_or_else(|| "no port comes after 65535: give --tcpchan-port".into())
}

/// Checks an address of the command line; names are looked up later.
pub fn host_and_port(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("it must be HOST:PORT"),
    }
}
