//! The ways to the service, as processes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use rcgen::{CertificateParams, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// More streams than are opened.
const MOST: &str = "20000";

pub struct Way {
    pub name: String,
    kind: Kind,
    tls: bool,
}

enum Kind {
    Direct,
    Tcpchan(PathBuf),
    Haproxy,
    Stunnel,
}

impl Way {
    pub fn all(tcpchan: &[(String, PathBuf)]) -> Vec<Way> {
        let way = |name: &str, kind, tls| {
            let name = name.to_owned();
            Way { name, kind, tls }
        };
        let mut ways = vec![way("direct", Kind::Direct, false)];
        for tls in [false, true] {
            let end = if tls { ", TLS" } else { "" };
            for (name, file) in tcpchan {
                let kind = Kind::Tcpchan(file.clone());
                ways.push(way(&format!("{name}{end}"), kind, tls));
            }
            ways.push(way(&format!("HAProxy{end}"), Kind::Haproxy, tls));
        }
        ways.push(way("stunnel, TLS", Kind::Stunnel, true));
        ways
    }

    /// Starts its processes, the one near the service first.
    pub async fn start(&self, service: SocketAddr, files: &Files) -> Result<Chain> {
        let mut chain = Chain {
            addr: service,
            children: Vec::new(),
        };
        if let Kind::Direct = self.kind {
            return Ok(chain);
        }
        for near in [true, false] {
            let at = free().await?;
            let mut command = match &self.kind {
                Kind::Tcpchan(file) => tcpchan(file, near, self.tls, at, chain.addr, files),
                Kind::Haproxy => haproxy(near, self.tls, at, chain.addr, files)?,
                _ => stunnel(near, at, chain.addr, files)?,
            };
            let command = command.stdin(Stdio::null()).stdout(Stdio::null());
            let child = command.stderr(Stdio::null()).kill_on_drop(true).spawn()?;
            chain.children.push(child);
            chain.addr = at;
            up(at).await?;
        }
        Ok(chain)
    }
}

/// What runs of a way.
pub struct Chain {
    /// Where clients connect.
    pub addr: SocketAddr,
    children: Vec<Child>,
}

impl Chain {
    pub fn ids(&self) -> Vec<u32> {
        self.children.iter().filter_map(Child::id).collect()
    }
}

fn tcpchan(
    file: &Path,
    near: bool,
    tls: bool,
    at: SocketAddr,
    to: SocketAddr,
    files: &Files,
) -> Command {
    let mut command = Command::new(file);
    let (at, to) = (at.to_string(), to.to_string());
    match near {
        true => command.args(["serve", "--max-channels", MOST]),
        false => command.args(["relay", "--max-clients", MOST]),
    };
    command.args(["--listen", &at, "--to", &to]);
    match (tls, near) {
        (false, _) => {}
        (true, true) => {
            command.arg("--tls-cert").arg(files.path("cert.pem"));
            command.arg("--tls-key").arg(files.path("key.pem"));
        }
        (true, false) => {
            command.arg("--tls").arg("--tls-ca");
            command.arg(files.path("cert.pem"));
        }
    }
    command
}

fn haproxy(
    near: bool,
    tls: bool,
    at: SocketAddr,
    to: SocketAddr,
    files: &Files,
) -> Result<Command> {
    let both = files.path("both.pem");
    let (bind, server) = match (tls, near) {
        (false, _) => (String::new(), String::new()),
        (true, true) => (format!(" ssl crt {}", both.display()), String::new()),
        (true, false) => {
            let ca = files.path("cert.pem");
            (
                String::new(),
                format!(" ssl verify required ca-file {}", ca.display()),
            )
        }
    };
    let text = format!(
        "global\n maxconn 9990\n\
         defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n\
         listen all\n bind {at}{bind}\n server one {to}{server}\n"
    );
    let file = files.path(&format!("haproxy-{}.cfg", at.port()));
    fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn stunnel(near: bool, at: SocketAddr, to: SocketAddr, files: &Files) -> Result<Command> {
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    let tls = match near {
        true => format!("cert = {}\nkey = {}\n", cert.display(), key.display()),
        false => format!(
            "client = yes\nCAfile = {}\nverifyChain = yes\n",
            cert.display()
        ),
    };
    let text = format!(
        "foreground = yes\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n\
         [all]\naccept = {at}\nconnect = {to}\n{tls}"
    );
    let file = files.path(&format!("stunnel-{}.conf", at.port()));
    fs::write(&file, text)?;
    let mut command = Command::new("stunnel4");
    command.arg(file);
    Ok(command)
}

async fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

async fn up(at: SocketAddr) -> Result<()> {
    for _ in 0..1000 {
        if TcpStream::connect(at).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("nothing listens on {at}: is the program installed?")
}

/// Configurations, and a certificate that is its own authority.
pub struct Files(PathBuf);

impl Files {
    pub fn new() -> Result<Files> {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("tcpchan-bench-{id}"));
        fs::create_dir_all(&folder)?;
        let files = Files(folder);
        let key = KeyPair::generate()?;
        let cert = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        fs::write(files.path("cert.pem"), cert.pem())?;
        fs::write(files.path("key.pem"), key.serialize_pem())?;
        fs::write(files.path("both.pem"), cert.pem() + &key.serialize_pem())?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
