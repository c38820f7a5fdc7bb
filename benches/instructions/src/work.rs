//! What is counted.

use std::fmt;
use std::hint::black_box;

use anyhow::Context;
use tcpchan::wire::{Control, Decoder, Frame, Protocol, Version};

use crate::pair::Pair;

#[derive(Clone, Copy)]
pub enum Work {
    Encode,
    Decode,
    Request,
    OpenClose,
}

impl Work {
    pub const ALL: [Work; 4] = [Work::Encode, Work::Decode, Work::Request, Work::OpenClose];

    pub fn name(self) -> &'static str {
        match self {
            Work::Encode => "encode",
            Work::Decode => "decode",
            Work::Request => "request",
            Work::OpenClose => "open-close",
        }
    }

    pub fn named(name: &str) -> anyhow::Result<Work> {
        let mut all = Work::ALL.into_iter();
        all.find(|work| work.name() == name).context("no such work")
    }

    pub fn run(self, times: usize) -> anyhow::Result<()> {
        let mut pair = Pair::new()?;
        match self {
            Work::Encode => encode(times),
            Work::Decode => decode(times)?,
            Work::Request => (0..times).try_for_each(|_| pair.request())?,
            Work::OpenClose => (0..times).try_for_each(|_| pair.open_close())?,
        }
        Ok(())
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Work::Encode => "a DATA frame of 100 bytes and a WINDOW to bytes",
            Work::Decode => "the same two from bytes",
            Work::Request => "100 bytes there and 200 back through two cores",
            Work::OpenClose => "open, 100 bytes and FIN each way, close, through two cores",
        })
    }
}

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
