//! Two cores joined by memory: the one place that knows how the core is driven.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, ensure};
use tcpchan::Config;
use tcpchan::proto::{Connection, Read, Role};

pub struct Pair {
    client: Connection,
    server: Connection,
    now: Instant,
    wire: Vec<u8>,
    channel: u32,
}

impl Pair {
    /// Two cores whose hellos are exchanged and that have one channel.
    pub fn new() -> anyhow::Result<Pair> {
        let now = Instant::now();
        let mut pair = Pair {
            client: Connection::new(Role::Client, Config::default(), now),
            server: Connection::new(Role::Server, Config::default(), now),
            now,
            wire: Vec::with_capacity(64 << 10),
            channel: 0,
        };
        for _ in 0..4 {
            pair.up();
            pair.down();
        }
        pair.channel = pair.client.open()?;
        pair.client.write(pair.channel, &[0; 100])?;
        pair.up();
        pair.server.accept().context("no channel")?;
        take(&mut pair.server, pair.channel, 100, now)?;
        Ok(pair)
    }

    fn up(&mut self) {
        carry(&mut self.client, &mut self.server, &mut self.wire, self.now);
    }

    fn down(&mut self) {
        carry(&mut self.server, &mut self.client, &mut self.wire, self.now);
    }

    /// 100 bytes there and 200 back, on an open channel.
    pub fn request(&mut self) -> anyhow::Result<()> {
        self.client.write(self.channel, &[1; 100])?;
        self.up();
        take(&mut self.server, self.channel, 100, self.now)?;
        self.server.write(self.channel, &[2; 200])?;
        self.down();
        take(&mut self.client, self.channel, 200, self.now)
    }

    /// Opens a channel, sends 100 bytes and FIN there and the same back, and
    /// lets go of it.
    pub fn open_close(&mut self) -> anyhow::Result<()> {
        let id = self.client.open()?;
        self.client.write(id, &[1; 100])?;
        self.client.finish(id)?;
        self.up();
        ensure!(self.server.accept() == Some(id));
        take(&mut self.server, id, 100, self.now)?;
        self.server.write(id, &[2; 100])?;
        self.server.finish(id)?;
        self.server.release(id);
        self.down();
        take(&mut self.client, id, 100, self.now)?;
        self.client.release(id);
        self.up();
        self.down();
        Ok(())
    }
}

/// Moves what `from` has to send, and takes what `to` tells.
fn carry(from: &mut Connection, to: &mut Connection, wire: &mut Vec<u8>, now: Instant) {
    wire.clear();
    from.poll_transmit(wire, 64 << 10, now);
    to.handle_input(wire, now);
    while let Some(event) = to.poll_event() {
        black_box(event);
    }
}

fn take(core: &mut Connection, id: u32, len: usize, now: Instant) -> anyhow::Result<()> {
    let mut buf = [0; 256];
    ensure!(core.read(id, &mut buf, now)? == Read::Bytes(len));
    black_box(buf);
    Ok(())
}
