//! `tcpchan serve`: channels in, TCP connections to a service out.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tcpchan::Channel;
use tcpchan::server::{Acceptor, DrainHandle};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::args;
use crate::carry::{carry, set_up};
use crate::failure::{Failure, in_a_line};
use crate::proxy;
use crate::relay::listen;
use crate::stats::{Counters, Report};
use crate::stop::{Signals, finish};
use crate::targets::{Targets, Way};
use crate::tls;

/// How long the service may take to accept, or the relay to say who the client
/// is. Two of TCP's segments may be lost.
const PATIENCE: Duration = Duration::from_secs(5);

struct Serve {
    targets: Targets<Service>,
    counters: Counters,
    accepts_proxy: bool,
    sends_proxy: bool,
    local: Option<SocketAddr>,
}

struct Service(String);

impl Way for Service {
    type Io = TcpStream;

    async fn reach(&self, _: bool) -> Result<TcpStream, String> {
        let Ok(connected) = timeout(PATIENCE, TcpStream::connect(&self.0)).await else {
            return Err(format!("it did not accept within {PATIENCE:?}"));
        };
        let tcp = connected.map_err(|error| in_a_line(&error))?;
        set_up(&tcp).map_err(|error| in_a_line(&error))?;
        Ok(tcp)
    }
}

pub async fn run(args: args::Serve) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::because("signals", &error))?;
    let mut acceptor = accept(&args).await?;
    let serve = Arc::new(Serve {
        targets: Targets::new(args.to.iter().map(|to| (to.clone(), Service(to.clone())))),
        counters: Counters::default(),
        accepts_proxy: args.accept_proxy,
        sends_proxy: args.send_proxy_v2,
        local: acceptor.local_addr().ok(),
    });
    let report = args.common.stats.map(|every| {
        let serve = serve.clone();
        Report::start(every, move || serve.lines())
    });
    let mut carriers = JoinSet::new();
    let deadline = {
        let drain = acceptor.drain_handle();
        let mut stop = pin!(stop(&mut signals, drain, args.common.grace));
        loop {
            tokio::select! {
                (channel, peer) = acceptor.accept() => {
                    let serve = serve.clone();
                    carriers.spawn(async move { serve.carry(channel, peer.addr).await });
                }
                Some(_) = carriers.join_next() => {}
                deadline = &mut stop => break deadline,
            }
        }
    };
    drop(acceptor);
    finish(carriers, (report, serve), deadline, signals).await
}

/// Waits for a signal, and then until no peer opens channels any more. Gives
/// the time at which what is left is cut off.
async fn stop(signals: &mut Signals, drain: DrainHandle, grace: Duration) -> Instant {
    signals.next().await;
    let deadline = Instant::now() + grace;
    drain.drain(grace + PATIENCE); // `finish` is earlier
    eprintln!("tcpchan: stopping");
    tokio::select! {
        () = drain.drained() => deadline,
        () = tokio::time::sleep_until(deadline) => deadline,
        () = signals.next() => Instant::now(),
    }
}

async fn accept(args: &args::Serve) -> Result<Acceptor, Failure> {
    let config = args
        .common
        .config()?
        .max_channels(args.max_channels)
        .map_err(|error| Failure::because("--max-channels", &error))?;
    let tls = tls::server(&args.tls)?;
    let listener = listen(&args.listen).await?;
    Ok(match tls {
        Some(tls) => Acceptor::tls(listener, tls, config),
        None => Acceptor::new(listener, config),
    })
}

impl Serve {
    async fn carry(&self, mut channel: Channel, peer: SocketAddr) {
        let counted = self.counters.count();
        let Ok(header) = self.introduction(&mut channel, peer).await else {
            channel.refuse();
            return counted.refused();
        };
        let Ok((mut tcp, _load)) = self.targets.reach().await else {
            channel.refuse();
            return counted.refused();
        };
        if tcp.write_all(&header).await.is_err() {
            return;
        }
        if carry(tcp, channel, &self.counters).await.is_ok() {
            counted.whole();
        }
    }

    /// What the service is told first.
    async fn introduction(&self, channel: &mut Channel, peer: SocketAddr) -> io::Result<Vec<u8>> {
        let header = match self.accepts_proxy {
            true => timeout(PATIENCE, proxy::read_header(channel)).await??,
            false => proxy::header(peer, self.local)?,
        };
        Ok(match self.sends_proxy {
            true => header,
            false => Vec::new(),
        })
    }

    fn lines(&self) -> String {
        let mut lines = format!("serve {}", self.counters);
        for target in self.targets.iter() {
            lines += &format!("\nserve {}", target.line());
        }
        lines
    }
}
