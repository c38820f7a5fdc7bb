//! Two cores joined by memory: the one place that knows how the core is driven.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, ensure};
use tcpchan::proto::{Config, Connection, Key, Read, Role};

pub struct Pair {
    client: Connection,
    server: Connection,
    now: Instant,
    wire: Vec<u8>,
    near: Key,
    far: Key,
}

impl Pair {
    /// Two cores whose hellos are exchanged and that have one channel.
    pub fn new() -> anyhow::Result<Pair> {
        let now = Instant::now();
        let mut client = Connection::new(Role::Client, Config::default(), now);
        let mut server = Connection::new(Role::Server, Config::default(), now);
        let mut wire = Vec::with_capacity(64 << 10);
        let near = client.open()?;
        client.write(near, &[0; 100])?;
        carry(&mut client, &mut server, &mut wire, now);
        let far = server.accept().context("no channel")?;
        take(&mut server, far, 100)?;
        for _ in 0..4 {
            carry(&mut server, &mut client, &mut wire, now);
            carry(&mut client, &mut server, &mut wire, now);
        }
        Ok(Pair {
            client,
            server,
            now,
            wire,
            near,
            far,
        })
    }

    fn up(&mut self) {
        carry(&mut self.client, &mut self.server, &mut self.wire, self.now);
    }

    fn down(&mut self) {
        carry(&mut self.server, &mut self.client, &mut self.wire, self.now);
    }

    /// 100 bytes there and 200 back, on an open channel.
    pub fn request(&mut self) -> anyhow::Result<()> {
        self.client.write(self.near, &[1; 100])?;
        self.up();
        take(&mut self.server, self.far, 100)?;
        self.server.write(self.far, &[2; 200])?;
        self.down();
        take(&mut self.client, self.near, 200)
    }

    /// Opens a channel, sends 100 bytes and FIN there and the same back, and
    /// lets go of it.
    pub fn open_close(&mut self) -> anyhow::Result<()> {
        let id = self.client.open()?;
        self.client.write(id, &[1; 100])?;
        self.client.finish(id)?;
        self.up();
        let far = self.server.accept().context("no channel")?;
        take(&mut self.server, far, 100)?;
        self.server.write(far, &[2; 100])?;
        self.server.finish(far)?;
        self.server.release(far);
        self.down();
        take(&mut self.client, id, 100)?;
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

fn take(core: &mut Connection, id: Key, len: usize) -> anyhow::Result<()> {
    let mut buf = [0; 256];
    ensure!(core.read(id, &mut buf)? == Read::Bytes(len));
    black_box(buf);
    Ok(())
}
