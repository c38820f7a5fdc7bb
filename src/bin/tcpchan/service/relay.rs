//! `tcpchan relay`: TCP connections in, channels out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tcpchan::client::TlsConnector;
use tcpchan::{Channel, ConnectionStats};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;
use tracing::warn;

use super::ending::{Ended, Open};
use super::record::{End, Record, Side, is_of_connection};
use super::swap::Swap;
use super::view::View;
use crate::args;
use crate::carry::{Broken, carry, proxy, set_up};
use crate::counters::Counters;
use crate::failure::Problem;
use crate::label::Label;
use crate::net::{Address, Client, Listener, Outgoing, Stream};
use crate::reverse::Published;
use crate::targets::{LINK_PATIENCE, Link, Target, TargetView, Targets};
use crate::tls;

/// A service that takes TCP connections.
pub struct Relay {
    label: Label,
    counters: Counters,
    plan: Swap<Plan>,
    /// Tells those that listen of another plan.
    changed: Notify,
}

/// What it does with a connection; another after a reload.
pub struct Plan {
    targets: Targets<Link>,
    dialled: args::Dialled,
    sends_proxy: bool,
    fin_timeout: Duration,
    max_clients: usize,
    tls: Option<TlsConnector<Outgoing>>,
    /// What `tls` is to have from the reload on.
    renewed: Option<Arc<ClientConfig>>,
}

impl Plan {
    /// Makes a plan, which takes over what it can of an old one and changes nothing there yet.
    pub fn new(
        label: &Label,
        args: &args::Relay,
        old: Option<&Plan>,
        published: &Published,
    ) -> Result<Self, Problem> {
        let config = args.dialled.config()?;
        let mut pool = args.dialled.pool()?;
        if args.to.len() > 1 {
            // Another target is better than a long wait for this one.
            let patient = pool.open_timeout(LINK_PATIENCE);
            pool = patient.map_err(|error| Problem::because("to", &error))?;
        }
        let client = tls::Client::new(&args.dialled.tls)?;
        if client.is_some() && !args.to.iter().all(|to| Address::of(to).is_tcp()) {
            return Err(Problem::new(
                "tls",
                "it is for HOST:PORT: a unix socket has no TLS, and a hub has its own",
            ));
        }
        let several = |plan: &Plan| plan.targets.iter().count() > 1;
        let old =
            old.filter(|old| old.dialled == args.dialled && several(old) == (args.to.len() > 1));
        let renewed = client.as_ref().map(|client| client.config.clone());
        let kept = old.and_then(|old| old.tls.clone());
        let outgoing = args.dialled.outgoing()?;
        let tls = client.map(|client| kept.unwrap_or_else(|| client.connector(outgoing.clone())));
        let target = |to: &String| {
            if let Some(kept) = old.and_then(|old| old.targets.get(to)) {
                return Ok(kept);
            }
            let link = Link::new(
                to,
                outgoing.clone(),
                tls.clone(),
                config.clone(),
                pool.clone(),
                published,
            );
            let link = link.map_err(|error| Problem::because("to", &error).of(to))?;
            Ok(Target::new(label.clone(), to, link))
        };
        let targets: Vec<_> = args.to.iter().map(target).collect::<Result<_, Problem>>()?;
        Ok(Plan {
            targets: Targets::new(targets),
            dialled: args.dialled.clone(),
            sends_proxy: args.send_proxy_v2,
            fin_timeout: args.client_fin_timeout,
            max_clients: args.max_clients as usize,
            tls,
            renewed,
        })
    }

    fn begin(&self) {
        self.targets.resume();
        if let (Some(tls), Some(config)) = (&self.tls, &self.renewed) {
            tls.handle().replace(config.clone());
        }
    }

    /// Tells `serve` who the client is.
    async fn introduce(
        &self,
        stream: &Stream,
        client: Client,
        channel: &mut Channel,
    ) -> io::Result<()> {
        if self.sends_proxy {
            let header = proxy::header(client.addr(), stream.local_addr())?;
            channel.write_all(&header).await?;
        }
        Ok(())
    }
}

impl Relay {
    pub fn new(label: Label, plan: Plan) -> Self {
        plan.begin();
        Relay {
            label,
            counters: Counters::default(),
            plan: Swap::new(plan),
            changed: Notify::new(),
        }
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.plan.get()
    }

    /// Treats the connections from now on by this plan.
    pub fn change(&self, plan: Plan) {
        plan.begin();
        self.plan.set(plan);
        self.changed.notify_waiters();
    }

    /// Takes connections until it is to end, and carries them to their ends. Whether something
    /// was cut off.
    pub async fn run(self: Arc<Self>, listener: Listener, mut ended: Ended, open: Open) -> bool {
        let deadline = ended.clone().deadline();
        let mut carriers = JoinSet::new();
        loop {
            let changed = self.changed.notified(); // from before the plan is read
            let has_room = carriers.len() < self.plan.get().max_clients;
            tokio::select! {
                accepted = listener.accept(), if has_room => {
                    match accepted {
                        Ok((stream, client)) => {
                            let relay = self.clone();
                            carriers.spawn(async move { relay.carry(stream, client).await });
                        }
                        Err(error) => self.rest_after(&error).await,
                    }
                }
                Some(_) = carriers.join_next() => {}
                () = changed => {}
                _ = ended.asked() => break,
            }
        }
        drop((listener, open));
        tokio::select! {
            () = async { while carriers.join_next().await.is_some() {} } => false,
            () = deadline => {
                carriers.shutdown().await;
                true
            }
        }
    }

    async fn carry(&self, stream: Stream, client: Client) {
        let mut record = Record::new(&self.label, &self.counters, Side::Client, &client);
        let end = self.carry_to_end(stream, client, &mut record).await;
        record.end(end);
    }

    async fn carry_to_end(&self, stream: Stream, client: Client, record: &mut Record<'_>) -> End {
        let plan = self.plan.get();
        if let Err(error) = set_up(&stream) {
            return record.broken(&Broken::Socket(error)); // it is gone already
        }
        let (mut channel, load) = match plan.targets.reach().await {
            Ok(reached) => reached,
            Err(error) => return End::Refused(error),
        };
        record.target = Some(load.name().to_owned());
        record.channel = Some(channel.id());
        let introduced = plan.introduce(&stream, client, &mut channel).await;
        let limit = plan.fin_timeout;
        drop(plan); // a reload may let go of it
        let carried = match introduced {
            Ok(()) => carry(stream, channel, &record.traffic, limit).await,
            Err(error) => Err(Broken::Channel(error)),
        };
        let Err(broken) = carried else {
            return End::Finished;
        };
        if let Broken::Channel(error) = &broken
            && is_of_connection(error)
            && !load.way().is_good()
        {
            self.plan.get().targets.lost(&load, error);
        }
        record.broken(&broken)
    }

    /// Whether a channel is not over.
    pub fn carries(&self) -> bool {
        let plan = self.plan.get();
        plan.targets.iter().any(|target| target.way.carries())
    }

    /// Waits if the system is out of something, such as file descriptors.
    async fn rest_after(&self, error: &io::Error) {
        warn!(service = self.label.field(), %error, "can't accept a client");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl View for Relay {
    fn mode(&self) -> &'static str {
        "relay"
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
        (sent.load(Relaxed), received.load(Relaxed))
    }

    fn connections(&self) -> Vec<(Option<String>, ConnectionStats)> {
        let plan = self.plan.get();
        let of_target = |target: &Target<Link>| {
            let name = target.name.clone();
            let connections = target.way.connections().into_iter();
            connections.map(move |one| (Some(name.clone()), one))
        };
        plan.targets.iter().flat_map(of_target).collect()
    }

    fn reachable(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        let plan = self.plan.get();
        let is_of_hub = |target: &Target<Link>| {
            let address = Address::of(&target.name);
            matches!(address, Address::Published(_))
        };
        // Its services come to a hub that is ready, perhaps only then.
        let waits = plan.targets.iter().any(is_of_hub);
        Box::pin(async move {
            match waits {
                true => Ok("a hub".to_owned()),
                false => plan.targets.reachable().await,
            }
        })
    }
}
