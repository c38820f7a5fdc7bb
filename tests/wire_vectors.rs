//! Byte-exact vectors of every frame of version 1, each at every split point.

use bytes::Bytes;
use tcpchan::wire::{Control, Decoded, Decoder, Frame, Protocol, Settings, Version, WireError};

fn vectors() -> Vec<(Frame<'static>, &'static str)> {
    use Control::*;
    let text = "bye".to_owned();
    let control = [
        (Hello { magic: 0xFEED_BACC }, "0101feedbacc"),
        (HelloReply { magic: 0xFEED_BACC }, "0102feedbacc"),
        (
            Settings {
                body: tcpchan::wire::Settings::default().encode(),
            },
            "0105000000000010000100040001000000020004 00000100",
        ),
        (Settings { body: Bytes::new() }, "0105000000000000"),
        (Open { channel: 1 }, "010300000001"),
        (
            Window {
                channel: 1,
                limit: 1 << 32,
            },
            "01100000000100080000000100000000",
        ),
        (Fin { channel: 2 }, "0111000000020000"),
        (
            Stop {
                channel: 3,
                code: 7,
            },
            "011200000003000400000007",
        ),
        (
            Reset {
                channel: 3,
                code: 7,
            },
            "011300000003000400000007",
        ),
        (Ping { token: 5 }, "011400000000 00080000000000000005"),
        (Pong { token: 5 }, "011500000000 00080000000000000005"),
        (MaxChannels { count: 300 }, "01160000000000040000012c"),
        (Drain, "0117000000000000"),
        (
            GoAway {
                last: 9,
                code: 1,
                text,
            },
            "011800000000000b0000000900000001627965",
        ),
        (
            Blocked {
                channel: 1,
                limit: 2,
            },
            "01900000000100080000000000000002",
        ),
    ];
    let data = Frame::Data {
        channel: 0x0102_0304,
        body: b"hello",
    };
    control
        .into_iter()
        .map(|(control, hex)| (Frame::Control(control), hex))
        .chain([(data, "0105010203040005 68656c6c6f")])
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// A control frame, or `None` and a DATA frame's payload.
type Found = (Option<Control>, Vec<u8>);

/// Everything in `pieces`, payloads joined.
fn decode(pieces: &[&[u8]]) -> Result<Vec<Found>, WireError> {
    let (mut decoder, mut found) = (Decoder::new(Protocol::V1), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(decoded) = decoder.decode(&mut input)? {
            match decoded {
                Decoded::Control(control) => found.push((Some(control), Vec::new())),
                Decoded::Data { channel, len } => {
                    found.push((None, Vec::new()));
                    assert_eq!((channel, len), (0x0102_0304, 5));
                }
                Decoded::Payload(bytes) => found.last_mut().unwrap().1.extend_from_slice(bytes),
            }
        }
    }
    Ok(found)
}

#[test]
fn every_frame_encodes_to_its_vector() {
    for (frame, hex) in vectors() {
        let mut out = Vec::new();
        frame.encode(Version::V1, &mut out);
        assert_eq!(out, unhex(hex), "{frame:?}");
    }
}

#[test]
fn every_vector_decodes_to_its_frame_at_every_split_point() {
    for (frame, hex) in vectors() {
        let expected = match frame {
            Frame::Control(control) => (Some(control), Vec::new()),
            Frame::Data { body, .. } => (None, body.to_vec()),
        };
        let bytes = unhex(hex);
        for at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(
                decode(&[a, b]).unwrap(),
                std::slice::from_ref(&expected),
                "{hex} at {at}"
            );
        }
    }
}

#[test]
fn a_stream_of_all_frames_decodes_the_same_byte_by_byte() {
    let stream: Vec<u8> = vectors().iter().flat_map(|(_, hex)| unhex(hex)).collect();
    let pieces: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decode(&pieces).unwrap(), decode(&[&stream]).unwrap());
    assert_eq!(decode(&pieces).unwrap().len(), vectors().len());
}

#[test]
fn an_unknown_op_with_bit_7_set_is_skipped() {
    let stream = unhex("01ff00000009000361626301 17000000000000");
    assert_eq!(
        decode(&[&stream]).unwrap(),
        [(Some(Control::Drain), vec![])]
    );
}

#[test]
fn what_no_frame_looks_like_is_an_error_at_the_first_byte_that_shows_it() {
    for (hex, error) in [
        (
            "00",
            WireError::Version {
                received: 0,
                spoken: Protocol::V1,
            },
        ),
        ("0142", WireError::UnknownOp(0x42)),
        ("0104", WireError::OtherVersion(4)),
        ("010300000000", WireError::Channel(3, 0)),
        ("0105000000010000", WireError::Length(5, 0)),
        ("0105000000014001", WireError::Length(5, 0x4001)),
        ("0105000000000401", WireError::Length(5, 0x401)),
        ("0110000000010007", WireError::Length(0x10, 7)),
        ("0110000000000008", WireError::Channel(0x10, 0)),
        ("0114000000010008", WireError::Channel(0x14, 1)),
        ("0118000000000007", WireError::Length(0x18, 7)),
        ("011800000000000900000000 00000000ff", WireError::Text),
    ] {
        let bytes = unhex(hex);
        let (last, before) = bytes.split_last().unwrap();
        assert!(decode(&[before]).is_ok(), "{hex} without its last byte");
        assert_eq!(decode(&[before, &[*last]]), Err(error), "{hex}");
        assert_eq!(decode(&[&bytes]), Err(error), "{hex} in one piece");
    }
}

#[test]
fn settings_come_back_as_they_were_and_unknown_types_are_skipped() {
    let mut settings = Settings::default();
    settings.initial_window = 1 << 20;
    settings.max_channels = 5000;
    let mut body = settings.encode().to_vec();
    body.extend_from_slice(&[0x7f, 0xff, 0, 2, 1, 2]);
    assert_eq!(Settings::decode(&body), Ok(settings));
}

#[test]
fn settings_that_are_malformed_or_out_of_range_are_errors() {
    for hex in [
        "000100",
        "0001000400",
        "00010002ffff",
        "000100040000ffff",
        "0001000480000000",
        "00020004000000ff",
        "00010004000100000001000400010000",
    ] {
        assert!(
            matches!(Settings::decode(&unhex(hex)), Err(WireError::Settings(_))),
            "{hex}"
        );
    }
}
