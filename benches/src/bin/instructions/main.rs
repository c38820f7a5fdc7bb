//! Small fixed work, so often as asked: `instructions WORK TIMES`. What it
//! costs is counted from outside, by callgrind.

mod pair;

use std::hint::black_box;

use anyhow::{Context, bail};
use tcpchan::wire::{Control, Decoder, Frame, Protocol, Version};

use self::pair::Pair;

const BODY: &[u8] = &[7; 100];

fn frames() -> [Frame<'static>; 2] {
    let window = Control::Window {
        channel: 1,
        limit: 1 << 20,
        loan: 1 << 21,
    };
    [
        Frame::Data {
            channel: 1,
            body: BODY,
        },
        Frame::Control(window),
    ]
}

/// A DATA frame of 100 bytes and a WINDOW.
fn encode(times: usize) {
    let frames = frames();
    let mut out = Vec::with_capacity(256);
    for _ in 0..times {
        out.clear();
        for frame in &frames {
            black_box(frame).encode(Version::V1, &mut out);
        }
        black_box(&out);
    }
}

/// The same two frames.
fn decode(times: usize) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for frame in frames() {
        frame.encode(Version::V1, &mut bytes);
    }
    let mut decoder = Decoder::new(Protocol::V1);
    for _ in 0..times {
        let mut input = black_box(&bytes[..]);
        while let Some(decoded) = decoder.decode(&mut input)? {
            black_box(decoded);
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let work = args.next().context("which work?")?;
    let times = args.next().context("how often?")?.parse()?;
    let mut pair = Pair::new()?;
    match work.as_str() {
        "encode" => encode(times),
        "decode" => decode(times)?,
        "request" => (0..times).try_for_each(|_| pair.request())?,
        "open-close" => (0..times).try_for_each(|_| pair.open_close())?,
        _ => bail!("no such work"),
    }
    Ok(())
}
