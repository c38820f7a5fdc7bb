//! The service: for each number that it gets it sends as many bytes.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

pub struct Service {
    _child: Child,
    pub addr: SocketAddr,
}

impl Service {
    pub async fn start() -> Result<Service> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("service")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("a pipe")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let addr = line.context("an address")?.parse()?;
        Ok(Service {
            _child: child,
            addr,
        })
    }
}

pub async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(serve(tcp));
    }
}

async fn serve(mut tcp: TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let chunk = vec![7; 64 * 1024];
    loop {
        let mut left = usize::try_from(tcp.read_u64().await?).unwrap_or(usize::MAX);
        while left > 0 {
            let taken = tcp.write(&chunk[..left.min(chunk.len())]).await?;
            left -= taken;
        }
    }
}
