//! Two network namespaces joined by a thread that passes packets between their
//! TUN devices with delay, jitter, a rate, a queue and loss.

mod accuracy;
mod forward;
mod line;

use std::fs;
use std::io::{self, PipeWriter};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tun_rs::{DeviceBuilder, SyncDevice};

pub use self::accuracy::{Accuracy, Direction};
use self::line::{Line, Lines};
use crate::conditions::Conditions;
use crate::netns::{Namespace, ip, sysctl};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
const DEVICE: &str = "wan0";

pub struct Link {
    pub server: Namespace,
    pub client: Namespace,
    lines: Lines,
    round_trip: Duration,
    /// Dropping it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<Result<()>>>,
    realtime: bool,
}

impl Link {
    pub fn new(conditions: &Conditions) -> Result<Self> {
        let (server, client) = (Namespace::new()?, Namespace::new()?);
        let devices = [
            server.run(|| device(SERVER, conditions))?,
            client.run(|| device(CLIENT, conditions))?,
        ];
        let now = Instant::now();
        let lines = [
            Line::new(conditions, 0, now)?,
            Line::new(conditions, 1, now)?,
        ];
        let lines = Arc::new(Mutex::new(lines));
        let (stopped, stop) = io::pipe()?;
        let (thread, realtime) = forward::spawn(devices, lines.clone(), stopped)?;
        Ok(Link {
            server,
            client,
            lines,
            round_trip: conditions.round_trip,
            stop: Some(stop),
            thread: Some(thread),
            realtime,
        })
    }

    /// The share of packets that both directions lose from now on.
    pub fn set_loss(&self, loss: f64) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter_mut() {
            line.set_loss(loss);
        }
    }

    /// The round trip from now on; `None` is that which it began with.
    pub fn set_round_trip(&self, round_trip: Option<Duration>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter_mut() {
            line.set_round_trip(round_trip.unwrap_or(self.round_trip));
        }
    }

    /// Packets that the full queues have dropped until now.
    pub fn queue_drops(&self) -> u64 {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| line.counts().queue_drops).sum()
    }

    /// Ends the link and says how well it kept its conditions.
    pub fn finish(mut self) -> Result<Accuracy> {
        // The devices go with the thread.
        let drops = [
            self.server.run(device_drops)?,
            self.client.run(device_drops)?,
        ];
        self.stop_thread()?;
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Accuracy {
            realtime: self.realtime,
            to_client: Direction::new(lines[0].counts(), drops[0]),
            to_server: Direction::new(lines[1].counts(), drops[1]),
        })
    }

    fn stop_thread(&mut self) -> Result<()> {
        self.stop = None;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().unwrap_or(Ok(()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.stop_thread();
    }
}

/// A TUN device in the calling thread's namespace.
fn device(address: Ipv4Addr, conditions: &Conditions) -> Result<SyncDevice> {
    let device = DeviceBuilder::new()
        .name(DEVICE)
        .ipv4(address, 24, None)
        .mtu(1500)
        .build_sync()
        .context("a TUN device")?;
    device.set_nonblocking(true)?;
    // It is also the size of the queue in which packets wait for the thread.
    ip(&format!("link set {DEVICE} txqueuelen 20000"))?;
    // A namespace may not have every congestion control as its default; a route can
    // choose any, but then sockets have no choice before they are connected.
    let congestion = conditions.congestion.name();
    if !sysctl("net/ipv4/tcp_congestion_control", congestion) {
        ip(&format!(
            "route replace 10.88.0.0/24 dev {DEVICE} src {address} congctl {congestion}"
        ))?;
    }
    Ok(device)
}

/// Packets that the device of the calling thread's namespace dropped before
/// the link read them.
fn device_drops() -> Result<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    table
        .lines()
        .find_map(|line| line.trim().strip_prefix("wan0:"))
        .and_then(|line| line.split_whitespace().nth(11)?.parse().ok())
        .context("the device is not in /proc/net/dev")
}
