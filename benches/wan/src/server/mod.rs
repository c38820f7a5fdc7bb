//! The server's process: every way's server, each on its port.

mod app;
mod http;
pub mod plain;
mod quic;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tcpchan::server::{Acceptor, Tls};
use tokio::net::{TcpListener, UdpSocket};

use crate::conditions::Congestion;
use crate::link::SERVER;
use crate::tls::Identity;
use crate::way::{Kind, Way};

pub const ECHO: u16 = 7999;

#[derive(clap::Args)]
pub struct Options {
    /// For QUIC; the kernel's TCP has the route's
    #[arg(long, value_enum)]
    pub cc: Congestion,
}

/// Serves until the process is ended; says on standard output when it listens.
pub async fn run(options: Options) -> Result<()> {
    let identity = Identity::from_environment()?;
    for kind in Kind::value_variants() {
        if kind.served_by() == *kind {
            start(*kind, &identity, options.cc).await?;
        }
    }
    let echo = UdpSocket::bind((SERVER, ECHO)).await?;
    writeln!(io::stdout(), "listening")?;
    plain::echo(echo).await
}

async fn start(kind: Kind, identity: &Identity, congestion: Congestion) -> Result<()> {
    let way = Way { kind, tls: false };
    let tls = Way { kind, tls: true };
    match kind {
        Kind::Quic => return quic::start(way.address(), identity, congestion),
        Kind::Tcp => {
            tokio::spawn(plain::serve(listen(way.address()).await?));
            return Ok(());
        }
        Kind::Tcpchan | Kind::TcpchanSystem => {
            let (plain, with_tls) = (listen(way.address()).await?, listen(tls.address()).await?);
            let identity = Tls::new(identity.server("")?);
            let acceptor = Acceptor::new(with_tls)
                .with_config(kind.config())
                .with_tls(identity);
            tokio::spawn(http::tcpchan(
                Acceptor::new(plain).with_config(kind.config()),
            ));
            tokio::spawn(http::tcpchan(acceptor));
            return Ok(());
        }
        _ => {
            tokio::spawn(http::hyper(listen(way.address()).await?, kind));
        }
    }
    let with_tls = listen(tls.address()).await?;
    let is_h2 = matches!(kind, Kind::H2 | Kind::H2Large | Kind::H2Adaptive);
    let config = identity.server(if is_h2 { "h2" } else { "http/1.1" })?;
    tokio::spawn(http::tls(with_tls, Arc::new(config).into(), kind));
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("listening on {address}"))
}
