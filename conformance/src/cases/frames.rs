use std::time::Duration;

use super::{List, encoded, fail};
use crate::frame::{Frame, header, size};

const OPS: [(u8, &str); 9] = [
    (0x10, "WINDOW"),
    (0x11, "FIN"),
    (0x12, "STOP"),
    (0x13, "RESET"),
    (0x14, "PING"),
    (0x15, "PONG"),
    (0x16, "MAX_CHANNELS"),
    (0x17, "DRAIN"),
    (0x19, "RETURN"),
];

pub fn add(list: &mut List) {
    pieces(list);
    ops(list);
    bodies(list);
    channels(list);
}

fn pieces(list: &mut List) {
    list.both(
        "W1.1",
        "a PING and its PONG, byte by byte as SPEC.md has them",
        |peer| {
            peer.greet()?;
            peer.listen(Duration::from_millis(20))?;
            peer.bytes(&[1, 0x14, 0, 0, 0, 0, 0, 8, 9, 8, 7, 6, 5, 4, 3, 2]);
            let right = [1, 0x15, 0, 0, 0, 0, 0, 8, 9, 8, 7, 6, 5, 4, 3, 2];
            let came = peer.raw(256, Duration::from_millis(200));
            match came.windows(right.len()).any(|bytes| bytes == right) {
                true => Ok(()),
                false => fail(peer, format!("{came:02x?}")),
            }
        },
    );
    list.violation("W1.5", "a version byte alone", [7], 1);
    list.violation("W1.5", "an op alone", [1, 0x42], 1);
    list.violation("W1.5", "a header alone", header(0x14, 0, 9), 1);
    list.violation("W1.2", "version byte 0 within a connection", [0], 1);
    list.violation("W1.2", "version byte 2 within a connection", [2], 1);
    list.violation("W1.2", "text within a connection", *b"GET /", 1);
    list.both("W1.3", "frames byte by byte", |peer| {
        peer.greet()?;
        let channel = peer.number();
        let ends = [
            Frame::Data(channel, b"hello".to_vec()),
            Frame::Fin(channel, 0),
        ];
        peer.seen.open(channel);
        for byte in encoded(&[&[Frame::Open(channel)], &ends[..]].concat()) {
            peer.bytes(&[byte]);
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        peer.seen.channels.entry(channel).or_default().sent = 5;
        peer.wait("the echo and its FIN", |seen| {
            let of = seen.channel(channel);
            of.data == b"hello" && of.fin.is_some()
        })
    });
    list.both("W1.3", "many frames in one write", |peer| {
        peer.greet()?;
        let mut bytes = Vec::new();
        let numbers: Vec<u32> = (0..100).map(|_| peer.number()).collect();
        for &channel in &numbers {
            peer.seen.open(channel);
            let data = Frame::Data(channel, channel.to_be_bytes().to_vec());
            bytes.extend(encoded(&[
                Frame::Open(channel),
                data,
                Frame::Fin(channel, 0),
            ]));
        }
        for &channel in &numbers {
            let of = peer.seen.channels.entry(channel).or_default();
            (of.sent, of.owes) = (4, Some(0));
        }
        peer.bytes(&bytes);
        peer.wait("100 echoes", |seen| {
            numbers.iter().all(|channel| {
                let of = seen.channel(*channel);
                of.data == channel.to_be_bytes() && of.fin.is_some()
            })
        })
    });
    list.both(
        "W1.4",
        "an unknown op before its channel and length",
        |peer| {
            peer.greet()?;
            peer.bytes(&header(0x42, 0, 65_535)[..2]);
            peer.ends(1)
        },
    );
    list.both("W1.4", "a length before the channel's number", |peer| {
        peer.greet()?;
        let unknown = peer.number() + 100;
        peer.bytes(&header(0x05, unknown, 16_385));
        peer.ends(1)
    });
    list.both(
        "W1.6",
        "the header of DATA for an unknown channel",
        |peer| {
            peer.greet()?;
            let unknown = peer.number();
            peer.bytes(&header(0x05, unknown, 5));
            peer.ends(1)
        },
    );
}

fn ops(list: &mut List) {
    for op in [0x00, 0x06, 0x0F, 0x1A, 0x42, 0x7F] {
        list.violation("W4.2", format!("the unknown op {op:#04x}"), [1, op], 1);
    }
    list.violation("W8.1", "CLOSE in version 1", [1, 0x04], 1);
    for (op, channel, length) in [(0x80, 0, 0), (0x90, 77, 5), (0xFF, u32::MAX, 65_535)] {
        let mut bytes = header(op, channel, length);
        bytes.resize(8 + usize::from(length), 0x42);
        let name = format!("op {op:#04x} with {length} bytes is skipped");
        list.harmless("W4.1", name, bytes);
    }
}

fn bodies(list: &mut List) {
    for (op, name) in OPS {
        let channel = u32::from(op < 0x14);
        let right = size(op).expect("a size");
        for length in [right.wrapping_sub(1), right + 1, 65_535] {
            if length > 65_535 {
                continue;
            }
            let bytes = header(op, channel, length as u16);
            list.violation("W5.1", format!("{name} of {length} bytes"), bytes, 1);
        }
    }
    for length in [0, 7, 1025] {
        let name = format!("GOAWAY of {length} bytes");
        list.violation("W5.2", name, header(0x18, 0, length), 1);
    }
    let mut text = header(0x18, 0, 10);
    text.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xC3, 0x28]);
    list.violation("W5.3", "a text that is no UTF-8", text, 1);
    list.both("W5.2", "a text of 1,016 bytes", |peer| {
        peer.greet()?;
        peer.say(&Frame::GoAway(0, 0, "é".repeat(508)));
        peer.closes()
    });
    for length in [0, 16_385, 65_535] {
        list.both("W7.1", format!("DATA of {length} bytes"), move |peer| {
            peer.greet()?;
            let channel = peer.open();
            peer.bytes(&header(0x05, channel, length));
            peer.ends(1)
        });
    }
    for length in [1, 16_384] {
        list.both(
            "W7.1",
            format!("DATA of {length} bytes is taken"),
            move |peer| {
                peer.greet()?;
                let channel = peer.open();
                peer.echo_on(channel, &vec![7; length])
            },
        );
    }
}

fn channels(list: &mut List) {
    for (op, name) in OPS {
        let length = size(op).expect("a size") as u16;
        let (rule, channel) = match op < 0x14 {
            true => ("W6.2", 0),
            false => ("W6.1", 1),
        };
        let name = format!("{name} with channel {channel}");
        list.violation(rule, name, header(op, channel, length), 1);
    }
    list.violation("W6.1", "GOAWAY with channel 1", header(0x18, 1, 8), 1);
    list.violation("W6.2", "OPEN of channel 0", Frame::Open(0).encode(), 1);
}
