//! Network namespaces without names: the kernel removes them, and the devices
//! in them, with the last process that uses them, whatever ended it.

use std::fs::{self, File};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

pub struct Namespace(File);

impl Namespace {
    pub fn new() -> Result<Self> {
        let namespace = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a new network namespace")?;
            Ok(Namespace(File::open("/proc/thread-self/ns/net")?))
        })?;
        namespace.run(|| {
            // Only the measured packets cross the link, and no connection
            // learns from the one before.
            sysctl("net/ipv6/conf/all/disable_ipv6", "1");
            sysctl("net/ipv4/tcp_no_metrics_save", "1");
            ip("link set lo up")
        })?;
        Ok(namespace)
    }

    /// Runs `work` on a thread inside the namespace; processes that it starts
    /// are inside too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(anyhow!("a thread in a namespace panicked")))
}

/// Sets what this kernel has and allows; older ones and builds without IPv6 lack
/// some. Whether it is set.
pub fn sysctl(name: &str, value: &str) -> bool {
    fs::write(format!("/proc/sys/{name}"), value).is_ok()
}

/// Runs iproute2 in the calling thread's namespace.
pub fn ip(arguments: &str) -> Result<()> {
    let mut command = Command::new("ip");
    let status = command.args(arguments.split_whitespace()).status();
    let status = status.context("ip, of iproute2, is needed")?;
    ensure!(status.success(), "ip {arguments}: {status}");
    Ok(())
}

/// Gives a plain user a user namespace in which it is root. For a process of
/// one thread.
pub fn become_root() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER).context("a user namespace; else run it as root")?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    Ok(())
}
