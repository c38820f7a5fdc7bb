//! An echo server and its client with the sans-IO core alone: threads and
//! sockets of `std`, no async runtime. It needs none of the crate's features.
//!
//! Each connection has two threads, so that reading never waits for writing.
//! They and the application share the core under a mutex, and a condition
//! variable says that something has changed.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tcpchan::proto::{self, Config, Connection, Key, OpenError, Role};

/// One connection: the core and its driver.
struct Link {
    core: Mutex<Connection>,
    changed: Condvar,
}

impl Link {
    /// Drives the core over the stream, until the thread returned has ended.
    fn start(role: Role, stream: TcpStream) -> io::Result<(Arc<Link>, JoinHandle<()>)> {
        // Small frames must not wait for acknowledgements.
        stream.set_nodelay(true)?;
        // A write that takes long returns, so that the core learns of it.
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let link = Arc::new(Link {
            core: Mutex::new(Connection::new(role, Config::default(), Instant::now())),
            changed: Condvar::new(),
        });
        let (reader, receiving) = (stream.try_clone()?, link.clone());
        thread::spawn(move || receiving.receive(reader));
        let transmitting = link.clone();
        let driver = thread::spawn(move || transmitting.transmit(stream));
        Ok((link, driver))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries `step` until it gives something, each time that something changed.
    fn wait_for<T>(&self, mut step: impl FnMut(&mut Connection) -> Option<T>) -> T {
        let mut core = self.lock();
        loop {
            if let Some(value) = step(&mut core) {
                self.changed.notify_all();
                return value;
            }
            let woken = self.changed.wait(core);
            core = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread that reads the socket.
    fn receive(&self, mut stream: TcpStream) {
        let mut input = vec![0; 64 << 10];
        loop {
            self.wait_for(|core| (core.wants_input() || core.error().is_some()).then_some(()));
            let read = stream.read(&mut input);
            let ended = !matches!(read, Ok(1..));
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.lock().handle_error(error),
                Ok(0) => self.lock().handle_eof(),
                Ok(n) => self.lock().handle_input(&input[..n], Instant::now()),
            }
            self.changed.notify_all();
            if ended {
                return;
            }
        }
    }

    /// The thread that writes the socket and keeps the core's time.
    fn transmit(&self, mut stream: TcpStream) {
        let mut output = Vec::new();
        let mut core = self.lock();
        loop {
            core.handle_timeout(Instant::now());
            // Events say where to look. Here everyone looks when anything changed.
            while core.poll_event().is_some() {}
            output.clear();
            core.poll_transmit(&mut output, 64 << 10, Instant::now());
            if !output.is_empty() {
                drop(core);
                self.changed.notify_all();
                let written = self.write(&mut stream, &output);
                core = self.lock();
                if let Err(error) = written {
                    core.handle_error(error);
                }
            } else if core.error().is_some() {
                break;
            } else {
                let rest = core.poll_timeout().map_or(Duration::MAX, |at| {
                    at.saturating_duration_since(Instant::now())
                });
                let woken = self.changed.wait_timeout(core, rest);
                core = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        drop(core);
        // The reading thread sees this as the end. An error here means that the
        // socket is gone already.
        let _ = stream.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    /// Writes all of it. While the socket takes nothing the core keeps its time, and gives
    /// up a peer that reads nothing.
    fn write(&self, stream: &mut TcpStream, mut output: &[u8]) -> io::Result<()> {
        let mut blocked = false;
        while !output.is_empty() {
            let written = stream.write(output);
            let (mut core, now) = (self.lock(), Instant::now());
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => output = &output[n..],
                Err(error) if is_temporary(&error) => {
                    blocked = true;
                    core.handle_blocked(now);
                    core.handle_timeout(now);
                    if let Some(error) = core.error() {
                        return Err(io::Error::other(error.clone()));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            if std::mem::take(&mut blocked) {
                core.handle_progress(now);
            }
        }
        Ok(())
    }

    /// Opens a channel; waits while the peer takes no more.
    fn open(self: &Arc<Self>) -> io::Result<Channel> {
        let opened = self.wait_for(|core| match core.open() {
            Err(OpenError::Blocked) => None,
            result => Some(result.map_err(io::Error::other)),
        });
        let link = self.clone();
        opened.map(|key| Channel { link, key })
    }

    /// The next channel that the peer opened; none once the connection ended.
    fn accept(self: &Arc<Self>) -> Option<Channel> {
        let key = self.wait_for(|core| match core.accept() {
            None if core.error().is_none() => None,
            accepted => Some(accepted),
        });
        let link = self.clone();
        key.map(|key| Channel { link, key })
    }
}

/// Whether a write may go on after it.
fn is_temporary(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// A channel with the traits of a `TcpStream`.
struct Channel {
    link: Arc<Link>,
    key: Key,
}

impl Read for Channel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let step = |core: &mut Connection| match core.read(self.key, buf) {
            Ok(proto::Read::Blocked) => None,
            Ok(proto::Read::Finished) => Some(Ok(0)),
            Ok(proto::Read::Bytes(n)) => Some(Ok(n)),
            Err(error) => Some(Err(io::Error::other(error))),
        };
        self.link.wait_for(step)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = |core: &mut Connection| match core.write(self.key, bytes) {
            Ok(0) if !bytes.is_empty() => None,
            result => Some(result.map_err(io::Error::other)),
        };
        self.link.wait_for(step)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Channel {
    /// The clean end of what is written.
    fn finish(&self) -> io::Result<()> {
        let finished = self.link.wait_for(|core| Some(core.finish(self.key)));
        finished.map_err(io::Error::other)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.link.lock().release(self.key);
        self.link.changed.notify_all();
    }
}

/// Echoes until the peer's clean end, and ends cleanly then.
fn echo(mut channel: Channel) -> io::Result<()> {
    let mut buf = [0; 16 << 10];
    loop {
        match channel.read(&mut buf)? {
            0 => return channel.finish(),
            n => channel.write_all(&buf[..n])?,
        }
    }
}

fn serve(listener: TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let (link, _) = Link::start(Role::Server, stream?)?;
        thread::spawn(move || {
            while let Some(channel) = link.accept() {
                thread::spawn(move || echo(channel));
            }
        });
    }
    Ok(())
}

/// Sends 1 MiB and reads it back up to the clean end.
fn ask(link: &Arc<Link>) -> io::Result<usize> {
    let (mut channel, mut buf) = (link.open()?, [0; 4096]);
    for i in 0..=255 {
        channel.write_all(&[i; 4096])?;
        channel.read_exact(&mut buf)?;
        if buf != [i; 4096] {
            return Err(io::Error::other("the echo is wrong"));
        }
    }
    channel.finish()?;
    channel.read(&mut buf)
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || serve(listener));

    let (link, driver) = Link::start(Role::Client, TcpStream::connect(addr)?)?;
    thread::scope(|scope| -> io::Result<()> {
        let asks: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&link))).collect();
        for ask in asks {
            let rest = ask.join().map_err(|_| io::Error::other("a panic"))??;
            println!("1 MiB came back, and then {rest} bytes");
        }
        Ok(())
    })?;
    link.lock().close("done");
    link.changed.notify_all();
    driver.join().map_err(|_| "the driver panicked".into())
}
