//! The other end of a modelled connection: a transport that leads to a core.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::clock::now;
use crate::proto::{Config, Connection, Key, Read, Role};

/// A transport that leads to the peer.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Peer>>);

pub struct Peer {
    pub core: Connection,
    /// What it does on its channels when bytes arrive.
    pub habit: fn(&mut Peer),
    pub channels: Vec<Key>,
    /// Bytes that it has read.
    pub received: u64,
    /// Bytes that it waits for before it answers.
    pub patience: u64,
    /// What it has sent and is not read yet.
    sent: VecDeque<u8>,
    /// It sends no more.
    pub ended: bool,
    /// Bytes that it takes before the transport is full.
    pub room: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wire {
    pub fn new(role: Role, budget: u64, habit: fn(&mut Peer)) -> Wire {
        let config = Config::default().max_channels(256).expect("in range");
        let core = Connection::new(role, config.receive_budget(budget), now());
        let mut peer = Peer {
            core,
            habit,
            channels: Vec::new(),
            received: 0,
            patience: 0,
            sent: VecDeque::new(),
            ended: false,
            room: usize::MAX,
            reader: None,
            writer: None,
        };
        peer.send();
        Wire(Arc::new(Mutex::new(peer)))
    }

    /// Lets the peer do something, and wakes who waits for it.
    pub fn peer<T>(&self, act: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peer = self.0.lock().unwrap();
        let value = act(&mut peer);
        peer.send();
        let reads = !peer.sent.is_empty() || peer.ended;
        let reader = peer.reader.take_if(|_| reads);
        let room = peer.room;
        let writer = peer.writer.take_if(|_| room > 0);
        drop(peer);
        reader.into_iter().chain(writer).for_each(Waker::wake);
        value
    }
}

impl Peer {
    fn send(&mut self) {
        let mut bytes = Vec::new();
        self.core.poll_transmit(&mut bytes, usize::MAX, now());
        self.sent.extend(bytes);
    }

    /// Reads what has come on a channel; whether it is over.
    pub fn read(&mut self, key: Key) -> bool {
        let mut buf = [0; 16 << 10];
        loop {
            match self.core.read(key, &mut buf) {
                Ok(Read::Bytes(n)) => self.received += n as u64,
                Ok(Read::Blocked) => return false,
                Ok(Read::Finished) | Err(_) => return true,
            }
        }
    }

    /// Answers each channel's first bytes by two, and ends as the other side does.
    pub fn answers(&mut self) {
        self.channels
            .extend(std::iter::from_fn(|| self.core.accept()));
        if self.received + self.core.stats().buffered < self.patience {
            return;
        }
        for key in std::mem::take(&mut self.channels) {
            let before = self.received;
            let over = self.read(key);
            if self.received > before {
                let _ = self.core.write(key, b"ok"); // it may be given up already
            }
            match over {
                true => self.core.release(key),
                false => self.channels.push(key),
            }
        }
    }

    /// Gives up all of its channels, so that others may take their place.
    pub fn lets_go(&mut self) {
        for key in std::mem::take(&mut self.channels) {
            self.core.release(key);
        }
    }

    /// Takes channels and leaves them alone.
    pub fn waits(&mut self) {
        self.channels
            .extend(std::iter::from_fn(|| self.core.accept()));
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut peer = self.0.lock().unwrap();
        if peer.sent.is_empty() && !peer.ended {
            peer.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = buf.remaining().min(peer.sent.len());
        let bytes: Vec<u8> = peer.sent.drain(..n).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = self.peer(|peer| {
            let n = peer.room.min(buf.len());
            if n == 0 {
                peer.writer = Some(cx.waker().clone());
                return 0;
            }
            peer.room -= n;
            peer.core.handle_input(&buf[..n], now());
            (peer.habit)(peer);
            n
        });
        match room {
            0 => Poll::Pending,
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The peer ends when this side does.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.peer(|peer| peer.ended = true);
        Poll::Ready(Ok(()))
    }
}
