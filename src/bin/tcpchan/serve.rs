//! `tcpchan serve`: channels in, TCP connections to a service out.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tcpchan::Channel;
use tcpchan::server::{Acceptor, Stop};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args;
use crate::carry::{carry, set_up};
use crate::failure::{Failure, in_a_line};
use crate::proxy;
use crate::relay::listen;
use crate::stats::{Counters, Report};
use crate::stop::Signals;
use crate::targets::{Targets, Unreached, Way};
use crate::tls;

/// How long the service may take to accept, or the relay to say who the client
/// is. Two of TCP's segments may be lost.
const PATIENCE: Duration = Duration::from_secs(5);

struct Serve {
    targets: Targets<Service>,
    counters: Counters,
    accepts_proxy: bool,
    sends_proxy: bool,
    fin_timeout: Duration,
    local: Option<SocketAddr>,
}

struct Service(String);

impl Way for Service {
    type Io = TcpStream;

    async fn reach(&self, _: bool) -> Result<TcpStream, Unreached> {
        let late = || Unreached::Down(format!("it did not accept within {PATIENCE:?}"));
        let connected = timeout(PATIENCE, TcpStream::connect(&self.0)).await;
        let connected = connected.map_err(|_| late())?;
        let tcp = connected.map_err(|error| Unreached::because(&error))?;
        set_up(&tcp).map_err(|error| Unreached::because(&error))?;
        Ok(tcp)
    }
}

pub async fn run(args: args::Serve) -> Result<(), Failure> {
    let signals = || Signals::new().map_err(|error| Failure::because("signals", &error));
    let (mut signals, mut further) = (signals()?, signals()?);
    let acceptor = accept(&args).await?;
    let serve = Arc::new(Serve {
        targets: Targets::new(args.to.iter().map(|to| (to.clone(), Service(to.clone())))),
        counters: Counters::default(),
        accepts_proxy: args.accept_proxy,
        sends_proxy: args.send_proxy_v2,
        fin_timeout: args.server_fin_timeout,
        local: acceptor.local_addr().ok(),
    });
    let report = args.common.stats.map(|every| {
        let serve = serve.clone();
        Report::start(every, move || serve.lines())
    });
    let drain = acceptor.drain_handle();
    let signal = async {
        signals.next().await;
        eprintln!("tcpchan: stopping");
    };
    let hurry = async {
        further.next().await;
        further.next().await;
        drain.drain(Duration::ZERO);
        std::future::pending::<()>().await;
    };
    let run = |stop| serve.clone().run(acceptor, stop);
    let served = tokio::select! {
        served = drain.serve_until(signal, args.common.grace, run) => served,
        () = hurry => return Ok(()), // never
    };
    drop(report);
    served.map_err(|_| Failure::cut_off("what was still carried was cut off"))
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
    /// Carries channels until it is to stop, and those to their ends.
    async fn run(
        self: Arc<Self>,
        mut acceptor: Acceptor,
        mut stop: Stop,
    ) -> Result<(), Infallible> {
        let mut carriers = JoinSet::new();
        loop {
            tokio::select! {
                (channel, peer) = acceptor.accept() => {
                    let serve = self.clone();
                    carriers.spawn(async move { serve.carry(channel, peer.addr).await });
                }
                Some(_) = carriers.join_next() => {}
                () = &mut stop => break,
            }
        }
        drop(acceptor);
        while carriers.join_next().await.is_some() {}
        Ok(())
    }

    async fn carry(&self, mut channel: Channel, peer: SocketAddr) {
        let counted = self.counters.count();
        let ready = async {
            let header = self.introduction(&mut channel, peer).await;
            let header =
                header.map_err(|error| format!("no PROXY header: {}", in_a_line(&error)))?;
            Ok::<_, String>((header, self.targets.reach().await?))
        };
        let (header, (mut tcp, _load)) = match ready.await {
            Ok(ready) => ready,
            Err(error) => {
                eprintln!("tcpchan: refused a stream of {peer}: {error}");
                channel.refuse();
                return counted.refused();
            }
        };
        if tcp.write_all(&header).await.is_err() {
            return;
        }
        if carry(tcp, channel, &self.counters, self.fin_timeout)
            .await
            .is_ok()
        {
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
