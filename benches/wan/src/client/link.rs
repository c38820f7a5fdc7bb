//! Measures the link itself, with nothing but the kernel's UDP and TCP.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::output::sample;
use super::pause::every;
use super::peer::Peer;
use crate::link::SERVER;
use crate::server::ECHO;
use crate::way::{Kind, Way};

/// Datagrams whose loss is counted.
pub const DATAGRAMS: usize = 20_000;

pub async fn link(peer: &Peer) -> Result<()> {
    echoes().await?;
    connects().await?;
    let bytes = 64 << 20;
    let start = Instant::now();
    peer.get(bytes).await?;
    sample(
        "one flow",
        vec![start.elapsed().as_secs_f64()],
        start,
        bytes,
    )
}

/// One datagram there and back, again and again.
async fn echoes() -> Result<()> {
    let (socket, start) = (socket().await?, Instant::now());
    let mut latencies = Vec::new();
    for number in 0..100u64 {
        let sent = Instant::now();
        socket.send(&number.to_be_bytes()).await?;
        let mut buffer = [0; 8];
        if timeout(Duration::from_secs(1), socket.recv(&mut buffer))
            .await
            .is_ok()
        {
            latencies.push(sent.elapsed().as_secs_f64());
        }
    }
    sample("echo", latencies, start, 0)
}

async fn connects() -> Result<()> {
    let address = Way {
        kind: Kind::Tcp,
        tls: false,
    }
    .address();
    let start = Instant::now();
    let mut latencies = Vec::new();
    for _ in 0..50 {
        let sent = Instant::now();
        TcpStream::connect(address).await?;
        latencies.push(sent.elapsed().as_secs_f64());
    }
    sample("connect", latencies, start, 0)
}

/// Many, four each millisecond: so few that no socket's buffer overflows.
/// Those that come back have a latency.
pub async fn datagrams() -> Result<()> {
    let (socket, start) = (socket().await?, Instant::now());
    let mut latencies = Vec::new();
    let mut tick = every(1);
    let mut sent = 0;
    let mut buffer = [0; 16];
    loop {
        tokio::select! {
            _ = tick.tick(), if sent < DATAGRAMS => for _ in 0..4 {
                socket.send(&start.elapsed().as_secs_f64().to_be_bytes()).await?;
                sent += 1;
            },
            received = timeout(Duration::from_secs(1), socket.recv(&mut buffer)) => {
                if received.is_err() {
                    return sample("datagrams", latencies, start, 0);
                }
                let [a, b, c, d, e, f, g, h, ..] = buffer;
                let then = f64::from_be_bytes([a, b, c, d, e, f, g, h]);
                latencies.push(start.elapsed().as_secs_f64() - then);
            }
        }
    }
}

async fn socket() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((SERVER, ECHO)).await?;
    Ok(socket)
}
