//! `tcpchan relay`: TCP connections in, channels out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tcpchan::Channel;
use tcpchan::proto::ChannelError;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args;
use crate::carry::{carry, set_up};
use crate::failure::Failure;
use crate::link::{Link, pool};
use crate::proxy;
use crate::stats::{Counters, Report};
use crate::stop::{Signals, finish};
use crate::targets::Targets;
use crate::tls;

struct Relay {
    targets: Targets<Link>,
    counters: Counters,
    sends_proxy: bool,
    fin_timeout: Duration,
}

pub async fn run(args: args::Relay) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::because("signals", &error))?;
    let relay = Arc::new(Relay::new(&args)?);
    let listener = listen(&args.listen).await?;
    let report = args.common.stats.map(|every| {
        let relay = relay.clone();
        Report::start(every, move || relay.lines())
    });
    let mut carriers = JoinSet::new();
    let most = args.max_clients as usize;
    loop {
        tokio::select! {
            accepted = listener.accept(), if carriers.len() < most => match accepted {
                Ok((tcp, client)) => {
                    let relay = relay.clone();
                    carriers.spawn(async move { relay.carry(tcp, client).await });
                }
                Err(error) => rest_after(&error).await,
            },
            Some(_) = carriers.join_next() => {}
            () = signals.next() => break,
        }
    }
    drop(listener);
    eprintln!("tcpchan: stopping");
    let deadline = Instant::now() + args.common.grace;
    let carries = |(_, relay): &(_, Arc<Relay>)| relay.carries();
    finish(carriers, (report, relay), carries, deadline, signals).await
}

impl Relay {
    fn new(args: &args::Relay) -> Result<Self, Failure> {
        let config = args.common.config()?;
        let tls = tls::Client::new(&args.tls)?;
        let pool = pool(args.connections, args.to.len() > 1)
            .map_err(|error| Failure::because("--connections", &error))?;
        let link = |to: &String| {
            let link = Link::new(to, tls.as_ref(), config.clone(), pool.clone());
            let link = link.map_err(|error| Failure::because(to, &error))?;
            Ok((to.clone(), link))
        };
        let links: Vec<_> = args.to.iter().map(link).collect::<Result<_, Failure>>()?;
        Ok(Relay {
            targets: Targets::new(links),
            counters: Counters::default(),
            sends_proxy: args.send_proxy_v2,
            fin_timeout: args.client_fin_timeout,
        })
    }

    async fn carry(&self, tcp: TcpStream, client: SocketAddr) {
        let counted = self.counters.count();
        if set_up(&tcp).is_err() {
            return; // it is gone already
        }
        let (channel, load) = match self.targets.reach().await {
            Ok(reached) => reached,
            Err(error) => {
                eprintln!("tcpchan: refused {client}: {error}");
                return counted.refused();
            }
        };
        match self.carry_on(tcp, client, channel).await {
            Ok(()) => counted.whole(),
            Err(error) if is_of_connection(&error) && !load.way().is_good() => {
                self.targets.lost(&load, &error);
            }
            Err(error) if is_refusal(&error) => {
                eprintln!("tcpchan: {} refused {client}: see its log", load.name());
                counted.refused();
            }
            Err(_) => {}
        }
    }

    async fn carry_on(
        &self,
        tcp: TcpStream,
        client: SocketAddr,
        mut channel: Channel,
    ) -> io::Result<()> {
        if self.sends_proxy {
            let header = proxy::header(client, tcp.local_addr().ok())?;
            channel.write_all(&header).await?;
        }
        carry(tcp, channel, &self.counters, self.fin_timeout).await
    }

    /// Whether a channel is not over.
    fn carries(&self) -> bool {
        self.targets.iter().any(|target| target.way.carries())
    }

    fn lines(&self) -> String {
        let mut lines = format!("relay {}", self.counters);
        for target in self.targets.iter() {
            lines += &format!("\nrelay {} {}", target.line(), target.way.line());
        }
        lines
    }
}

/// Whether an error is the end of a whole connection to a server.
fn is_of_connection(error: &io::Error) -> bool {
    let channel = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        channel,
        Some(ChannelError::Connection(_) | ChannelError::Refused(Some(_)))
    )
}

/// Whether the server said that nobody takes the stream.
fn is_refusal(error: &io::Error) -> bool {
    let channel = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(channel, Some(ChannelError::Refused(None)))
}

/// A listener, whose address is told.
pub async fn listen(to: &str) -> Result<TcpListener, Failure> {
    let failed = |error| Failure::because(format!("can't listen on {to}"), &error);
    let listener = TcpListener::bind(to).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    eprintln!("tcpchan: listening on {addr}");
    Ok(listener)
}

/// Waits if the system is out of something, such as file descriptors.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        eprintln!("tcpchan: can't accept: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
