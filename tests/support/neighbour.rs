//! Another host: a network namespace with a proxy that carries connections back to
//! this one, each way after a delay.
#![allow(dead_code)] // each test file uses a part

#[path = "slow_proxy.rs"]
mod slow_proxy;

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpListener;

pub struct Neighbour {
    name: String,
    /// This host's address, as the neighbour sees it.
    pub ours: IpAddr,
    /// Where the proxy listens.
    pub addr: SocketAddr,
    backend: Arc<Mutex<SocketAddr>>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Family {
    V4,
    V6,
}

impl Neighbour {
    /// None, loudly, where this user may make no namespace.
    pub fn new(family: Family, delay: Duration) -> Option<Neighbour> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let (pid, n) = (std::process::id() as u16, COUNT.fetch_add(1, Relaxed));
        let name = format!("tcpchan{pid}-{n}");
        let net = |end: u8| match family {
            Family::V4 => format!("10.{}.{}.{}", 64 + pid % 64, pid / 64 % 256, 4 * n + end),
            Family::V6 => format!("fd77:{pid:x}:{n:x}::{end}"),
        };
        let (ours, theirs) = (net(1), net(2));
        let (bits, flag) = match family {
            Family::V4 => (30, ""),
            Family::V6 => (64, " nodad"),
        };
        let commands = format!(
            "netns add {name}
            link add tch{pid}{n} type veth peer name far netns {name}
            addr add {ours}/{bits} dev tch{pid}{n}{flag}
            -n {name} addr add {theirs}/{bits} dev far{flag}
            link set tch{pid}{n} up
            -n {name} link set far up"
        );
        if !commands.lines().all(ip) {
            println!("NOT TESTED: no network namespace can be made; it takes root and `ip`");
            return None;
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let backend = Arc::new(Mutex::new(nowhere));
        let to_backend = backend.clone();
        let (listens, at) = mpsc::channel();
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let to: IpAddr = theirs.parse().unwrap();
                let listener = TcpListener::bind((to, 0)).await.unwrap();
                listens.send(listener.local_addr().unwrap()).unwrap();
                slow_proxy::run(listener, to_backend, delay).await;
            });
        });
        Some(Neighbour {
            name,
            ours: ours.parse().unwrap(),
            addr: at.recv().unwrap(),
            backend,
        })
    }

    /// Connections to [`addr`](Self::addr) are carried there.
    pub fn carry_to(&self, backend: SocketAddr) {
        *self.backend.lock().unwrap() = backend;
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(args: &str) -> bool {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    output.is_ok_and(|output| output.status.success())
}
