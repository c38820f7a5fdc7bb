//! The thread that moves packets between the two devices and their lines.

use std::io::PipeReader;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use thread_priority::ThreadPriority;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tun_rs::SyncDevice;

use super::line::{Line, Lines};

/// A packet may leave this much late, so that one wake-up serves several.
const SLACK: Duration = Duration::from_micros(100);

/// Packets read from one device before the lines are looked at again.
const BATCH: usize = 64;

/// Starts the thread; also says whether it runs at real-time priority.
pub fn spawn(
    devices: [SyncDevice; 2],
    lines: Lines,
    stopped: PipeReader,
) -> Result<(JoinHandle<Result<()>>, bool)> {
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let _ = sender.send(prepare());
        forward(&devices, &lines, &stopped)
    };
    let thread = thread::Builder::new().name("link".into()).spawn(work)?;
    Ok((thread, receiver.recv()?))
}

/// Exact timers, and a place before all others on the processor, where allowed.
fn prepare() -> bool {
    let _ = set_timerslack(1);
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, fifo).is_ok()
}

fn forward(
    devices: &[SyncDevice; 2],
    lines: &Mutex<[Line; 2]>,
    stopped: &PipeReader,
) -> Result<()> {
    let mut buffer = vec![0; 65536];
    let mut readable = [false; 2];
    loop {
        let due = step(devices, lines, readable, &mut buffer);
        if wait(devices, stopped, &mut readable, due)? {
            return Ok(());
        }
    }
}

/// Reads what came in, sends what is due, and says when the next packet is.
fn step(
    devices: &[SyncDevice; 2],
    lines: &Mutex<[Line; 2]>,
    readable: [bool; 2],
    buffer: &mut [u8],
) -> Option<Instant> {
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    for ((device, line), readable) in devices.iter().zip(lines.iter_mut()).zip(readable) {
        for _ in 0..if readable { BATCH } else { 0 } {
            let Ok(length) = device.recv(buffer) else {
                break;
            };
            line.push(Instant::now(), &buffer[..length]);
        }
    }
    let now = Instant::now();
    let [from_server, from_client] = &mut *lines;
    let dues = [
        from_server.deliver(now, |packet| devices[1].send(packet).is_ok()),
        from_client.deliver(now, |packet| devices[0].send(packet).is_ok()),
    ];
    dues.into_iter().flatten().min()
}

/// Waits for packets or for the next due time; `true` when the link is over.
fn wait(
    devices: &[SyncDevice; 2],
    stopped: &PipeReader,
    readable: &mut [bool; 2],
    due: Option<Instant>,
) -> Result<bool> {
    let readiness = PollFlags::POLLIN;
    let mut polled = [
        PollFd::new(devices[0].as_fd(), readiness),
        PollFd::new(devices[1].as_fd(), readiness),
        PollFd::new(stopped.as_fd(), readiness),
    ];
    let time = due.map(|due| due.saturating_duration_since(Instant::now()).max(SLACK));
    match ppoll(&mut polled, time.map(TimeSpec::from), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => bail!("the link's poll: {error}"),
    }
    let [server, client, stopped] = polled.map(|fd| fd.any().unwrap_or_default());
    *readable = [server, client];
    Ok(stopped)
}
