//! A thousand peers that make a server hold what they can, and stay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tcpchan::wire::{Control, DEFAULT_MAGIC, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::Failure;
use crate::flood::{LARGE, data, id, request, say};

pub struct Kind {
    pub name: &'static str,
    /// What each peer says, as long as there is something, each time with the next number.
    say: fn(u32, &mut Vec<u8>),
    reads: bool,
}

/// The defaults that a peer is told.
const CHANNELS: u32 = 1024;
const WINDOW: u32 = 64 << 10;
const BUDGET: u32 = 64 << 20;

const FRAME: u32 = 16 << 10;
const FRAMES: u32 = WINDOW / FRAME;

const HOLD: &[u8] = b"POST /hold HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n";

pub const KINDS: &[Kind] = &[
    Kind {
        name: "silent",
        say: |_, _| (),
        reads: true,
    },
    Kind {
        name: "all channels opened",
        say: |nth, out| {
            if nth < CHANNELS {
                say(Control::Open { channel: id(nth) }, out);
            }
        },
        reads: true,
    },
    Kind {
        name: "a byte on each channel",
        say: |nth, out| {
            if nth < CHANNELS {
                request(nth, b"G", out);
            }
        },
        reads: true,
    },
    Kind {
        name: "all windows filled, then the budget",
        say: |nth, out| {
            let (channel, frame) = (nth / FRAMES, nth % FRAMES);
            let full = [7; FRAME as usize];
            if channel < CHANNELS && frame == 0 {
                request(channel, HOLD, out);
                data(id(channel), &full[HOLD.len()..], out);
            } else if channel < CHANNELS {
                data(id(channel), &full, out);
            } else if nth - CHANNELS * FRAMES < BUDGET / FRAME {
                data(1, &full, out);
            }
        },
        reads: true,
    },
    Kind {
        name: "frames of 1 KiB on one channel",
        say: |nth, out| match nth {
            0 => request(0, HOLD, out),
            1..65_000 => data(1, &[7; 1024], out),
            _ => {}
        },
        reads: true,
    },
    Kind {
        name: "large answers, reading nothing",
        say: |nth, out| {
            if nth < CHANNELS {
                request(nth, LARGE, out);
            }
        },
        reads: false,
    },
];

pub struct Peers {
    pub count: usize,
    /// Addresses that they come from.
    pub networks: u8,
    /// All connect before any of them speaks.
    pub connect_first: bool,
    pub to: SocketAddr,
}

/// Such peers for so long; what became of them.
#[tokio::main(flavor = "current_thread")]
pub async fn run(kind: &'static Kind, peers: &Peers, time: Duration) -> Result<(), Failure> {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut connected = Vec::new();
    for nth in 0..peers.count {
        let stream = connect(peers, nth).await?;
        alive.fetch_add(1, Relaxed);
        let alive = alive.clone();
        let peer = async move {
            play(kind, stream).await;
            alive.fetch_sub(1, Relaxed);
        };
        match peers.connect_first {
            true => connected.push(peer),
            false => drop(tokio::spawn(peer)),
        }
    }
    for peer in connected {
        tokio::spawn(peer);
    }
    let _ = timeout(time, std::future::pending::<()>()).await;
    println!("{}", alive.load(Relaxed));
    Ok(())
}

async fn connect(peers: &Peers, nth: usize) -> Result<TcpStream, Failure> {
    let socket = TcpSocket::new_v4()?;
    let last = 1 + nth % usize::from(peers.networks);
    let from = [127, 0, 1, u8::try_from(last)?];
    socket.bind((from, 0).into())?;
    Ok(socket.connect(peers.to).await?)
}

/// Says what such a peer says, and stays.
async fn play(kind: &Kind, stream: TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let speak = async {
        let mut out = Vec::new();
        let magic = DEFAULT_MAGIC;
        let body = Settings::default().encode();
        say(Control::Hello { magic }, &mut out);
        say(Control::Settings { body }, &mut out);
        let mut nth = 0;
        while !out.is_empty() {
            if writer.write_all(&out).await.is_err() {
                return;
            }
            out.clear();
            while out.len() < 16 << 10 && nth < u32::MAX {
                let before = out.len();
                (kind.say)(nth, &mut out);
                nth = if out.len() == before {
                    u32::MAX
                } else {
                    nth + 1
                };
            }
        }
        std::future::pending().await
    };
    let hear = async {
        let mut bytes = vec![0; 4096];
        match kind.reads {
            true => while let Ok(1..) = reader.read(&mut bytes).await {},
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = speak => {}
        () = hear => {}
    }
}
