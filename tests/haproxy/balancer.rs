//! HAProxy as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::guard::within;

/// What the guide shows; its addresses stand for those of a test.
pub const CONFIG: &str = include_str!("haproxy.cfg");

pub struct Haproxy {
    _child: Child,
    config: PathBuf,
    pub addr: SocketAddr,
}

impl Haproxy {
    /// In front of two servers.
    pub async fn balancing([one, two]: [SocketAddr; 2]) -> Haproxy {
        let addr = free_place().await;
        let config = CONFIG
            .replace("bind :3000", &format!("bind {addr}"))
            .replace("10.0.0.1:3000", &one.to_string())
            .replace("10.0.0.2:3000", &two.to_string());
        Haproxy::start(addr, &config).await
    }

    pub async fn start(addr: SocketAddr, text: &str) -> Haproxy {
        let name = format!("haproxy-{}.cfg", addr.port());
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("haproxy")
            .arg("-db") // stay in the foreground
            .arg("-f")
            .arg(&config)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("HAProxy is installed");
        let listens = async {
            while TcpStream::connect(addr).await.is_err() {
                assert!(child.try_wait().unwrap().is_none(), "HAProxy ended");
                tokio::task::yield_now().await;
            }
        };
        within(listens).await;
        Haproxy {
            _child: child,
            config,
            addr,
        }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
    }
}

/// An address that nobody listens on.
pub async fn free_place() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
