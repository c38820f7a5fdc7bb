//! `tcpchan serve`: channels in, TCP connections to a service out.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tcpchan::server::{Acceptor, ChannelLimits, ConnectionLimits, Connections, Stop, Tls};
use tcpchan::{Channel, Config, ConnectionStats};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ServerConfig;

use super::ending::{Ended, Open, YEAR};
use super::record::{End, Record, Side};
use super::swap::Swap;
use super::view::View;
use crate::args;
use crate::carry::{Broken, carry, proxy, set_up};
use crate::counters::Counters;
use crate::failure::{Problem, in_a_line};
use crate::label::Label;
use crate::net::{Address, Client, Listener, Stream};
#[cfg(unix)]
use crate::net::{UnixIncoming, unix_limits};
use crate::reverse::Dialler;
use crate::targets::{Load, Target, TargetView, Targets, Unreached, Way};
use crate::tls;

/// How long the service may take to accept, or the relay to say who the client
/// is. Two of TCP's segments may be lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can't change while it listens: else other listeners take its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Shape {
    tls: bool,
    accepted: args::Accepted,
    limits: args::Limits,
}

impl Shape {
    pub fn of(args: &args::Serve) -> Self {
        Shape {
            tls: args.tls.is_on(),
            accepted: args.accepted.clone(),
            limits: args.limits.clone(),
        }
    }
}

/// A service that takes channels.
pub struct Serve {
    label: Label,
    counters: Counters,
    plan: Swap<Plan>,
    /// Those of each listener.
    connections: Mutex<Vec<(u64, Connections)>>,
}

/// What it does with a channel; another after a reload.
pub struct Plan {
    mode: &'static str,
    targets: Targets<Upstream>,
    /// How it comes to hubs, if it does.
    dialler: Option<Arc<Dialler>>,
    accepts_proxy: bool,
    sends_proxy: bool,
    fin_timeout: Duration,
    config: Config,
    tls: Option<Tls>,
    /// What `tls` is to have from the reload on.
    renewed: Option<Arc<ServerConfig>>,
    /// None of a service that comes to hubs.
    shape: Option<Shape>,
    limits: ConnectionLimits,
}

struct Upstream(Address);

impl Upstream {
    async fn connect(&self) -> Result<Stream, Unreached> {
        let late = || Unreached::Down(format!("it did not accept within {PATIENCE:?}"));
        let connected = timeout(PATIENCE, Stream::connect(&self.0)).await;
        let connected = connected.map_err(|_| late())?;
        connected.map_err(|error| Unreached::because(&error))
    }
}

impl Way for Upstream {
    type Io = Stream;

    async fn reach(&self, _: bool) -> Result<Stream, Unreached> {
        let stream = self.connect().await?;
        set_up(&stream).map_err(|error| Unreached::because(&error))?;
        Ok(stream)
    }

    async fn probe(&self) -> Result<(), Unreached> {
        self.connect().await.map(drop)
    }
}

impl Plan {
    /// Makes a plan, which takes over what it can of an old one and changes nothing there yet.
    pub fn new(label: &Label, args: &args::Serve, old: Option<&Plan>) -> Result<Self, Problem> {
        let renewed = tls::server(&args.tls)?.map(Arc::new);
        let kept = old.and_then(|old| old.tls.clone());
        let tls = renewed.clone().map(|tls| kept.unwrap_or(Tls::new(tls)));
        let config = args.accepted.config()?;
        // If its connections stay, they go on to count.
        let shape = Shape::of(args);
        let kept = old.filter(|old| old.shape.as_ref() == Some(&shape));
        let limits = match kept {
            Some(old) => old.limits.clone(),
            None => args.limits.limits()?,
        };
        Ok(Plan {
            mode: "serve",
            tls,
            renewed,
            shape: Some(shape),
            limits,
            ..Plan::carrying(label, &args.upstream, config, old)
        })
    }

    /// The same of a service that comes to hubs.
    pub fn dialling(
        label: &Label,
        args: &args::Publish,
        old: Option<&Plan>,
    ) -> Result<Self, Problem> {
        let config = args.way.accepted.config()?;
        Ok(Plan {
            mode: "publish",
            dialler: Some(Arc::new(Dialler::new(&args.way)?)),
            ..Plan::carrying(label, &args.upstream, config, old)
        })
    }

    fn carrying(label: &Label, args: &args::Upstream, config: Config, old: Option<&Plan>) -> Self {
        let target = |to: &String| {
            let kept = old.and_then(|old| old.targets.get(to));
            kept.unwrap_or_else(|| Target::new(label.clone(), to, Upstream(Address::of(to))))
        };
        Plan {
            mode: "",
            targets: Targets::new(args.to.iter().map(target)),
            dialler: None,
            accepts_proxy: args.accept_proxy,
            sends_proxy: args.send_proxy_v2,
            fin_timeout: args.server_fin_timeout,
            config,
            tls: None,
            renewed: None,
            shape: None,
            limits: ConnectionLimits::default(),
        }
    }

    pub fn dialler(&self) -> Option<&Arc<Dialler>> {
        self.dialler.as_ref()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What takes the channels. A unix socket has no TLS: it never leaves this host.
    pub fn acceptor(&self, listener: Listener) -> Acceptor {
        let config = self.config.clone();
        let limits = self.limits.clone();
        #[cfg(unix)]
        let limits = match &listener {
            Listener::Unix(_) => unix_limits(limits),
            Listener::Tcp(_) => limits,
        };
        let acceptor = match (listener, &self.tls) {
            (Listener::Tcp(listener), Some(tls)) => Acceptor::new(listener).with_tls(tls.clone()),
            (Listener::Tcp(listener), None) => Acceptor::new(listener),
            #[cfg(unix)]
            (Listener::Unix(listener), _) => Acceptor::from_incoming(UnixIncoming(listener)),
        };
        let acceptor = acceptor.with_config(config).with_connection_limits(limits);
        acceptor.with_channel_limits(channel_limits())
    }

    fn begin(&self) {
        self.targets.resume();
        if let (Some(tls), Some(config)) = (&self.tls, &self.renewed) {
            tls.handle().replace(config.clone());
        }
    }
}

impl Serve {
    pub fn new(label: Label, plan: Plan) -> Self {
        plan.begin();
        Serve {
            label,
            counters: Counters::default(),
            plan: Swap::new(plan),
            connections: Mutex::default(),
        }
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.plan.get()
    }

    /// Treats the channels from now on by this plan.
    pub fn change(&self, plan: Plan) {
        plan.begin();
        self.plan.set(plan);
    }

    /// Takes channels until it is to end, and carries them to their ends. Whether something was
    /// cut off.
    pub async fn run(self: Arc<Self>, acceptor: Acceptor, mut ended: Ended, open: Open) -> bool {
        let drain = acceptor.drain_handle();
        let listed = self.list(acceptor.connections());
        let mut follower = ended.clone();
        let signal = async {
            ended.asked().await;
            drop(open);
        };
        let follow = async {
            let mut deadline = follower.asked().await;
            loop {
                drain.drain(deadline.saturating_duration_since(Instant::now()));
                deadline = follower.sooner().await;
            }
        };
        let take = |stop| self.clone().take(acceptor, stop);
        let cut_off = tokio::select! {
            served = drain.serve_until(signal, YEAR, take) => served.is_err(),
            () = follow => true, // never
        };
        self.lists().retain(|(number, _)| *number != listed);
        cut_off
    }

    /// Has the connections of a listener seen, under a number.
    fn list(&self, connections: Connections) -> u64 {
        let mut lists = self.lists();
        let number = lists.last().map_or(0, |(last, _)| last + 1);
        lists.push((number, connections));
        number
    }

    fn lists(&self) -> MutexGuard<'_, Vec<(u64, Connections)>> {
        let lists = self.connections.lock();
        lists.unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(
        self: Arc<Self>,
        mut acceptor: Acceptor,
        mut stop: Stop,
    ) -> Result<(), Infallible> {
        let local = acceptor.local_addr().ok();
        let mut carriers = JoinSet::new();
        loop {
            tokio::select! {
                (channel, peer) = acceptor.accept() => {
                    let serve = self.clone();
                    carriers.spawn(async move { serve.carry(channel, peer.addr, local).await });
                }
                Some(_) = carriers.join_next() => {}
                () = &mut stop => break,
            }
        }
        drop(acceptor);
        while carriers.join_next().await.is_some() {}
        Ok(())
    }

    async fn carry(&self, channel: Channel, peer: SocketAddr, local: Option<SocketAddr>) {
        let client = address(peer).map_or(Client::Local(None), Client::Tcp);
        let mut record = Record::new(&self.label, &self.counters, Side::Service, &client);
        let end = self.carry_to_end(channel, peer, local, &mut record).await;
        record.end(end);
    }

    async fn carry_to_end(
        &self,
        mut channel: Channel,
        peer: SocketAddr,
        local: Option<SocketAddr>,
        record: &mut Record<'_>,
    ) -> End {
        record.channel = Some(channel.id());
        let plan = self.plan.get();
        let (header, (mut stream, load)) = match plan.ready(&mut channel, peer, local, record).await
        {
            Ok(ready) => ready,
            Err(error) => {
                channel.refuse();
                return End::Refused(error);
            }
        };
        record.target = Some(load.name().to_owned());
        let limit = plan.fin_timeout;
        drop(plan); // a reload may let go of it
        if let Err(error) = stream.write_all(&header).await {
            return record.broken(&Broken::Socket(error));
        }
        match carry(stream, channel, &record.traffic, limit).await {
            Ok(()) => End::Finished,
            Err(broken) => record.broken(&broken),
        }
    }
}

impl Plan {
    /// What the service is told first, and a connection to it.
    async fn ready(
        &self,
        channel: &mut Channel,
        peer: SocketAddr,
        local: Option<SocketAddr>,
        record: &mut Record<'_>,
    ) -> Result<(Vec<u8>, (Stream, Load<Upstream>)), String> {
        let header = self.introduction(channel, peer, local).await;
        let header = header.map_err(|error| format!("no PROXY header: {}", in_a_line(&error)))?;
        if let Some(client) = proxy::client_of(&header) {
            record.client = client.to_string();
        }
        let reached = self.targets.reach().await?;
        match self.sends_proxy {
            true => Ok((header, reached)),
            false => Ok((Vec::new(), reached)),
        }
    }

    /// Who the client is: as the channel says, or else who has the connection.
    async fn introduction(
        &self,
        channel: &mut Channel,
        peer: SocketAddr,
        local: Option<SocketAddr>,
    ) -> io::Result<Vec<u8>> {
        match self.accepts_proxy {
            true => timeout(PATIENCE, proxy::read_header(channel)).await?,
            false => proxy::header(address(peer), local),
        }
    }
}

/// The address of a peer, if it has one.
fn address(peer: SocketAddr) -> Option<SocketAddr> {
    Some(peer).filter(|peer| !peer.ip().is_unspecified())
}

impl View for Serve {
    fn mode(&self) -> &'static str {
        self.plan.get().mode
    }

    fn label(&self) -> &Label {
        &self.label
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn targets(&self) -> Vec<TargetView> {
        self.plan.get().targets.views()
    }

    fn bytes(&self) -> (u64, u64) {
        let Counters { sent, received, .. } = &self.counters;
        (received.load(Relaxed), sent.load(Relaxed))
    }

    fn connections(&self) -> Vec<(Option<String>, ConnectionStats)> {
        let lists = self.lists().clone();
        let snapshots = lists.iter().flat_map(|(_, list)| list.snapshot());
        snapshots.map(|one| (None, one)).collect()
    }

    fn reachable(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        let plan = self.plan.get();
        let is_nowhere = plan.dialler.is_some() && self.connections().is_empty();
        Box::pin(async move {
            match is_nowhere {
                true => Err("no hub has taken the service".to_owned()),
                false => plan.targets.reachable().await,
            }
        })
    }
}

/// A stream that rests holds no buffer, and each has a file of the process, whose number the
/// system limits.
pub fn channel_limits() -> ChannelLimits {
    ChannelLimits::default().memory_per_channel(0)
}
