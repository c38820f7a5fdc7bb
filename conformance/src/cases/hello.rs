use std::time::Duration;

use super::{List, encoded, fail};
use crate::frame::{Frame, LEAST, header};
use crate::peer::{MAGIC, Outcome, Peer, Role};

/// Time in which nothing must come.
const QUIET: Duration = Duration::from_millis(50);

fn settings() -> Frame {
    Frame::Settings(LEAST.encode())
}

/// What may be wrong instead of a hello, and instead of the settings.
fn others() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("OPEN", Frame::Open(1).encode()),
        ("DATA", Frame::Data(1, b"hello".to_vec()).encode()),
        ("PING", Frame::Ping(1).encode()),
        ("GOAWAY", Frame::GoAway(0, 0, String::new()).encode()),
        ("an op that is skipped", header(0x90, 0, 0)),
        ("an unknown op", vec![1, 0x42]),
    ]
}

pub fn add(list: &mut List) {
    list.both("W2.1", "hello and settings", |peer| peer.greet());
    list.both("W2.2", "the default magic", |peer| {
        peer.greet()?;
        match peer.seen.magic {
            Some(MAGIC) => Ok(()),
            other => fail(peer, format!("the magic is {other:x?}")),
        }
    });
    list.server("W2.3", "nothing comes before a HELLO", |peer| {
        match peer.raw(1, QUIET).is_empty() && peer.seen.end.is_none() {
            true => Ok(()),
            false => fail(peer, "something comes"),
        }
    });
    list.server("W2.4", "a HELLO alone is answered", |peer| {
        peer.say(&Frame::Hello(MAGIC));
        peer.wait("HELLO_REPLY and settings", |seen| seen.settings.is_some())
    });
    list.server("W2.5", "everything in the first flight", |peer| {
        let channel = peer.number();
        peer.seen.open(channel);
        let first = [
            Frame::Hello(MAGIC),
            settings(),
            Frame::Open(channel),
            Frame::Data(channel, b"hello".to_vec()),
            Frame::Fin(channel, 0),
        ];
        peer.bytes(&encoded(&first));
        peer.wait("the echo and its FIN", |seen| {
            let of = seen.channel(channel);
            of.data == b"hello" && of.fin.is_some()
        })
    });
    list.both("W1.3", "hello and settings byte by byte", |peer| {
        if peer.role == Role::Client {
            peer.wait("its HELLO", |seen| seen.magic.is_some())?;
        }
        for byte in encoded(&[peer.hello(MAGIC), settings()]) {
            peer.bytes(&[byte]);
            std::thread::sleep(Duration::from_micros(200));
        }
        peer.wait("its settings", |seen| seen.settings.is_some())?;
        peer.alive()
    });
    list.server("W2.6", "another magic is answered with one's own", |peer| {
        peer.bytes(&encoded(&[Frame::Hello(7), settings()]));
        peer.ends(4)?;
        match (peer.seen.magic, peer.seen.settings) {
            (Some(MAGIC), Some(_)) => Ok(()),
            other => fail(peer, format!("it says {other:x?}")),
        }
    });
    list.client("W2.7", "another magic of the server", |peer| {
        peer.wait("its HELLO", |seen| seen.magic.is_some())?;
        peer.bytes(&encoded(&[Frame::HelloReply(7), settings()]));
        peer.ends(4)
    });
    for (name, bytes) in others() {
        list.both("W2.1", format!("{name} instead of a hello"), move |peer| {
            if peer.role == Role::Client {
                peer.wait("its HELLO", |seen| seen.magic.is_some())?;
            }
            peer.bytes(&bytes);
            peer.ends(4)
        });
    }
    list.both("W2.1", "the settings instead of a hello", |peer| {
        peer.bytes(&settings().encode());
        peer.ends(4)
    });
    list.both("W2.1", "the other side's hello", |peer| {
        let wrong = match peer.role {
            Role::Server => Frame::HelloReply(MAGIC),
            Role::Client => Frame::Hello(MAGIC),
        };
        peer.bytes(&wrong.encode());
        peer.ends(4)
    });
    list.both("W2.1", "a second hello", |peer| {
        peer.greet()?;
        peer.bytes(&peer.hello(MAGIC).encode());
        peer.ends(1)
    });
    list.both("W2.1", "the other side's hello, later", |peer| {
        peer.greet()?;
        let both = encoded(&[Frame::Hello(MAGIC), Frame::HelloReply(MAGIC)]);
        peer.bytes(&both);
        peer.ends(1)
    });
    for (name, bytes) in others() {
        list.both(
            "W2.7",
            format!("{name} instead of the settings"),
            move |peer| {
                half(peer)?;
                peer.bytes(&bytes);
                peer.ends(4)
            },
        );
    }
    list.both("W2.7", "a second hello instead of the settings", |peer| {
        half(peer)?;
        peer.bytes(&peer.hello(MAGIC).encode());
        peer.ends(4)
    });
    list.both(
        "W2.7",
        "another version byte instead of the settings",
        |peer| {
            half(peer)?;
            peer.bytes(&[3]);
            peer.ends(4)
        },
    );
}

/// The kit's hello without its settings.
pub fn half(peer: &mut Peer) -> Outcome {
    if peer.role == Role::Client {
        peer.wait("its HELLO", |seen| seen.magic.is_some())?;
    }
    peer.bytes(&peer.hello(MAGIC).encode());
    Ok(())
}

/// What a server says to another version: a HELLO_REPLY of its own, at least.
fn answers(peer: &mut Peer, byte: u8, rest: &[u8]) -> Outcome {
    peer.bytes(&[&[byte], rest].concat());
    let reply = peer.raw(6, Duration::from_secs(2));
    let right = [1, 2, 0xFE, 0xED, 0xBA, 0xCC];
    if reply != right {
        return fail(peer, format!("it answers {reply:02x?}"));
    }
    let more = peer.raw(2048, Duration::from_secs(2));
    if peer.seen.end.is_none() {
        return fail(peer, "it does not close");
    }
    match byte == 0 && !more.is_empty() {
        true => fail(peer, format!("more for version 0: {more:02x?}")),
        false => Ok(()),
    }
}

pub fn add_versions(list: &mut List) {
    let hello = [1, 0xFE, 0xED, 0xBA, 0xCC];
    list.server(
        "W8.2",
        "a HELLO of version 0, to a server of version 1 alone",
        move |peer| answers(peer, 0, &hello),
    );
    list.versions(false);
    list.server("W8.2", "a HELLO of version 2", move |peer| {
        answers(peer, 2, &hello)
    });
    list.server("W20.1", "a HELLO of version 255", move |peer| {
        answers(peer, 255, &hello)
    });
    list.server("W8.2", "plain HTTP", |peer| {
        answers(peer, b'G', b"ET / HTTP/1.1\r\n\r\n")
    });
    list.server("W8.2", "a first byte alone", |peer| answers(peer, 2, &[]));
    for byte in [0, 2, b'H'] {
        let name = format!("a HELLO_REPLY of version {byte}, to a client of version 1 alone");
        list.client("W8.3", name, move |peer| {
            peer.wait("its HELLO", |seen| seen.magic.is_some())?;
            peer.bytes(&[byte, 2, 0xFE, 0xED, 0xBA, 0xCC]);
            peer.closes()?;
            match (&peer.seen.goaway, byte) {
                (None, _) | (Some((_, 4, _)), 1..) => Ok(()),
                (other, _) => fail(peer, format!("it says {other:?}")),
            }
        });
        if byte == 0 {
            list.versions(false);
        }
    }
}
