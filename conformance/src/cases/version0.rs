//! Endpoints that speak both versions, with a peer of version 0.

use std::time::{Duration, Instant};

use super::{List, fail};
use crate::frame::broken;
use crate::peer::{Outcome, Peer};

const MAGIC: [u8; 4] = [0xFE, 0xED, 0xBA, 0xCC];
const SOON: Duration = Duration::from_secs(2);

/// A frame of version 0.
fn frame(op: u8, channel: u32, body: Option<&[u8]>) -> Vec<u8> {
    let length = body.map_or(vec![], |body| (body.len() as u16).to_be_bytes().to_vec());
    let channel = channel.to_be_bytes();
    [&[0, op][..], &channel, &length, body.unwrap_or_default()].concat()
}

fn open(channel: u32) -> Vec<u8> {
    frame(3, channel, None)
}

fn close(channel: u32) -> Vec<u8> {
    frame(4, channel, None)
}

fn data(channel: u32, body: &[u8]) -> Vec<u8> {
    frame(5, channel, Some(body))
}

fn greet(peer: &mut Peer) -> Outcome {
    peer.bytes(&[&[0, 1][..], &MAGIC].concat());
    let reply = peer.raw(6, SOON);
    match reply == [&[0, 2][..], &MAGIC].concat() {
        true => Ok(()),
        false => fail(peer, format!("it answers {reply:02x?}")),
    }
}

/// These bytes come next.
fn comes(peer: &mut Peer, bytes: &[u8]) -> Outcome {
    let came = peer.raw(bytes.len(), SOON);
    match came == bytes {
        true => Ok(()),
        false => fail(
            peer,
            format!("{} other bytes: {:.99}", came.len(), format!("{came:02x?}")),
        ),
    }
}

fn echo(peer: &mut Peer, channel: u32) -> Outcome {
    peer.bytes(&[open(channel), data(channel, b"hello")].concat());
    comes(peer, &data(channel, b"hello"))
}

/// The end without a word.
fn silent_end(peer: &mut Peer) -> Outcome {
    let came = peer.raw(1, SOON);
    match peer.seen.end.is_some() && came.is_empty() {
        true => Ok(()),
        false => fail(peer, format!("it {}, and says {came:02x?}", peer.how())),
    }
}

pub fn add(list: &mut List) {
    let first = list.cases.len();
    servers(list);
    clients(list);
    for case in &mut list.cases[first..] {
        case.both_versions = Some(true);
    }
}

fn servers(list: &mut List) {
    list.server(
        "W8.6",
        "a HELLO of version 0 is answered in it, without settings",
        |peer| {
            greet(peer)?;
            match peer.raw(1, Duration::from_millis(50)).is_empty() {
                true => Ok(()),
                false => fail(peer, "more than HELLO_REPLY"),
            }
        },
    );
    for channel in [1, 0, 2, 0xDEAD_BEEF] {
        list.server(
            "W19.3",
            format!("an echo on number {channel}"),
            move |peer| {
                greet(peer)?;
                echo(peer, channel)
            },
        );
    }
    list.server("W19.2", "DATA of 65,535 bytes", |peer| {
        greet(peer)?;
        peer.bytes(&[open(7), data(7, &[9; 65_535])].concat());
        let mut left = 65_535;
        while left > 0 {
            let header = peer.raw(8, SOON);
            if header.len() < 8 || header[..6] != data(7, &[])[..6] {
                return fail(peer, format!("{header:02x?}"));
            }
            let length = usize::from(u16::from_be_bytes([header[6], header[7]]));
            if peer.raw(length, SOON) != vec![9; length] || length > left {
                return fail(peer, "other bytes");
            }
            left -= length;
        }
        Ok(())
    });
    list.server("W19.2", "DATA without bytes", |peer| {
        greet(peer)?;
        peer.bytes(&[open(7), data(7, b"")].concat());
        peer.bytes(&data(7, b"hello"));
        comes(peer, &data(7, b"hello"))
    });
    list.server("W19.5", "CLOSE frees the number", |peer| {
        greet(peer)?;
        echo(peer, 7)?;
        peer.bytes(&close(7));
        echo(peer, 7)
    });
    list.server(
        "W19.5",
        "CLOSE and DATA for numbers that are not in use",
        |peer| {
            greet(peer)?;
            peer.bytes(&[close(9), data(9, b"lost"), close(9)].concat());
            echo(peer, 9)
        },
    );
    list.server("W19.3", "an OPEN for a number that is in use", |peer| {
        greet(peer)?;
        echo(peer, 7)?;
        peer.bytes(&open(7));
        silent_end(peer)
    });
    list.server(
        "W19.4",
        "what it does not take is closed, and nothing else",
        |peer| {
            greet(peer)?;
            let opens: Vec<u8> = (1..2000).flat_map(open).collect();
            peer.bytes(&opens);
            let came = peer.raw(2000 * 6, Duration::from_millis(300));
            let closes = came.chunks(6).all(|frame| frame.starts_with(&[0, 4]));
            match closes && peer.seen.end.is_none() {
                true => Ok(()),
                false => fail(peer, format!("it {}", peer.how())),
            }
        },
    );
    for op in [0x00, 0x06, 0x14, 0x90] {
        list.server("W19.1", format!("op {op:#04x}"), move |peer| {
            greet(peer)?;
            peer.bytes(&[0, op]);
            silent_end(peer)
        });
    }
    list.server("W1.2", "version byte 1 behind version 0", |peer| {
        greet(peer)?;
        peer.bytes(&[1]);
        silent_end(peer)
    });
    list.server("W19.1", "another magic", |peer| {
        peer.bytes(&[0, 1, 0, 0, 0, 7]);
        peer.raw(64, SOON);
        match peer.seen.end.is_some() {
            true => Ok(()),
            false => fail(peer, "it goes on"),
        }
    });
}

fn clients(list: &mut List) {
    list.client(
        "W8.4",
        "the first flight has what version 0 knows, and 64 KiB",
        |peer| {
            let until = Instant::now() + Duration::from_millis(200);
            let bytes = peer.raw(65_537, until - Instant::now());
            if bytes.len() > 65_536 {
                return fail(peer, "more than 64 KiB");
            }
            let mut rest = &bytes[..];
            while let [version, op, ..] = *rest {
                let known = version == 1 && matches!(op, 1 | 3 | 5);
                if op == 3 && rest.get(2..6) == Some(&[0; 4]) {
                    return Err(broken("W19.6", "it opens number 0"));
                }
                let size = match rest.get(6..8) {
                    Some(length) if op == 5 => {
                        8 + usize::from(u16::from_be_bytes([length[0], length[1]]))
                    }
                    _ => 6,
                };
                match rest.get(size..) {
                    Some(more) if known => rest = more,
                    _ => return fail(peer, format!("version {version}, op {op:#04x}")),
                }
            }
            Ok(())
        },
    );
    list.client(
        "W8.5",
        "a HELLO_REPLY of version 0: it goes on in that",
        |peer| {
            let flight = peer.raw(65_536, Duration::from_millis(100));
            if flight.get(..6) != Some(&[1, 1, 0xFE, 0xED, 0xBA, 0xCC]) {
                return fail(peer, "no HELLO");
            }
            peer.bytes(&[&[0, 2][..], &MAGIC].concat());
            echo(peer, 6)?;
            peer.bytes(&data(1, b"back"));
            comes(peer, &data(1, b"back"))
        },
    );
    list.client(
        "W8.5",
        "a HELLO_REPLY of version 1: it goes on in that",
        |peer| {
            peer.greet()?;
            peer.echo()?;
            peer.channel_of_client().map(drop)
        },
    );
}
