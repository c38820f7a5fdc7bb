use std::time::Duration;

use super::{List, fail};
use crate::frame::{Frame, header};
use crate::peer::Peer;

pub fn add_ping(list: &mut List) {
    for token in [0, 1, 0x0102_0304_0506_0708, u64::MAX] {
        list.both("W9.1", format!("PING {token:#x}"), move |peer| {
            peer.greet()?;
            peer.say(&Frame::Ping(token));
            peer.wait("its PONG", |seen| seen.pongs.contains(&token))
        });
    }
    list.both("W9.1", "PINGs at once: the last is answered", |peer| {
        peer.greet()?;
        for token in 100..110 {
            peer.say(&Frame::Ping(token));
        }
        peer.wait("the last PONG", |seen| seen.pongs.contains(&109))
    });
    list.both("W9.1", "a PING behind much DATA", |peer| {
        peer.greet()?;
        let channel = peer.open();
        peer.send(channel, 65_536)?;
        peer.alive()
    });
    list.both("W18.4", "a PONG that answers nothing is dropped", |peer| {
        peer.greet()?;
        peer.bytes(&Frame::Pong(u64::MAX).encode());
        peer.alive()
    });
    list.both("W9.3", "a drain is answered", |peer| {
        peer.greet()?;
        peer.drain()
    });
    list.both("W9.5", "channels go on behind a drain", |peer| {
        peer.greet()?;
        let channel = peer.echo()?;
        peer.drain()?;
        peer.echo_on(channel, b"goes on")
    });
    list.both("W9.5", "who drains may still open", |peer| {
        peer.greet()?;
        peer.drain()?;
        peer.echo().map(drop)
    });
    list.both("W9.4", "it opens nothing behind the PONG", |peer| {
        peer.greet()?;
        peer.drain()?;
        peer.listen(Duration::from_millis(50))
    });
    list.both("W18.4", "a second DRAIN is dropped", |peer| {
        peer.greet()?;
        peer.drain()?;
        peer.bytes(&Frame::Drain.encode());
        peer.alive()
    });
}

pub fn add_end(list: &mut List) {
    list.both("W17.2", "GOAWAY 0 is followed by the end", |peer| {
        peer.greet()?;
        peer.echo()?;
        leave(peer, 0)
    });
    list.both("W17.3", "GOAWAY with an unknown code", |peer| {
        peer.greet()?;
        leave(peer, 12_345)
    });
    list.both("W17.2", "nothing behind a GOAWAY counts", |peer| {
        peer.greet()?;
        let mut bytes = Frame::GoAway(0, 0, String::new()).encode();
        bytes.extend([9, 9, 9]);
        peer.bytes(&bytes);
        peer.closes()?;
        match &peer.seen.goaway {
            None => Ok(()),
            Some(said) => fail(peer, format!("it says {said:?}")),
        }
    });
    list.both("W17.4", "last is 0 where nothing was opened", |peer| {
        peer.greet()?;
        peer.bytes(&[1, 0x42]);
        peer.ends(1)?;
        match &peer.seen.goaway {
            Some((0, ..)) => Ok(()),
            other => fail(peer, format!("it says {other:?}")),
        }
    });
    list.both("W17.5", "last is the channel that was used", |peer| {
        peer.greet()?;
        peer.echo()?;
        let last = peer.echo()?;
        peer.bytes(&[1, 0x42]);
        peer.ends(1)?;
        match &peer.seen.goaway {
            Some((said, ..)) if *said == last => Ok(()),
            other => fail(peer, format!("it says {other:?}, and {last} is right")),
        }
    });
    list.both("W17.3", "the transport ends behind its GOAWAY", |peer| {
        peer.greet()?;
        peer.bytes(&[1, 0x42]);
        peer.ends(1)?;
        match peer.how() {
            "ends" => Ok(()),
            how => fail(peer, format!("it {how}")),
        }
    });
    list.both(
        "W17.1",
        "it reads on behind its GOAWAY, so no reset comes",
        |peer| {
            peer.greet()?;
            let mut bytes = vec![1, 0x42];
            bytes.resize(100_000, 0x42);
            peer.bytes(&bytes);
            peer.ends(1)?;
            match peer.how() {
                "ends" => Ok(()),
                how => fail(peer, format!("it {how}")),
            }
        },
    );
    list.should();
    list.both("W17.6", "the end of the stream is the end", |peer| {
        peer.greet()?;
        peer.echo()?;
        peer.shut_down();
        peer.closes()
    });
    for (name, cut) in [
        ("a header", vec![1, 0x14, 0]),
        ("a body", header(0x14, 0, 8)),
    ] {
        list.both(
            "W17.7",
            format!("the stream ends within {name}"),
            move |peer| {
                peer.greet()?;
                peer.bytes(&cut);
                peer.shut_down();
                peer.ends(1)
            },
        );
        list.should();
    }
    list.both("W18.2", "64 PINGs at once", |peer| {
        peer.greet()?;
        for token in 1000..1064 {
            peer.say(&Frame::Ping(token));
        }
        peer.wait("the last PONG", |seen| seen.pongs.contains(&1063))
    });
    list.both("W18.2", "1,000 no-op frames at once", |peer| {
        peer.greet()?;
        for _ in 0..999 {
            peer.bytes(&header(0xAA, 0, 0));
        }
        peer.alive()
    });
    list.both("W18.2", "256 channels that are given up at once", |peer| {
        peer.greet()?;
        for _ in 0..256 {
            let channel = peer.open();
            peer.say(&Frame::Reset(channel, 0, 0));
            peer.say(&Frame::Stop(channel, 0));
        }
        peer.alive()
    });
    list.both(
        "W18.7",
        "it reads while its own bytes are not taken",
        |peer| {
            peer.greet()?;
            let numbers: Vec<u32> = (0..64).map(|_| peer.open()).collect();
            for channel in numbers {
                for _ in 0..4 {
                    peer.say(&Frame::Data(channel, vec![1; 16_384]));
                }
            }
            peer.alive()
        },
    );
}

fn leave(peer: &mut Peer, code: u32) -> crate::peer::Outcome {
    peer.bytes(&Frame::GoAway(0, code, "bye".to_owned()).encode());
    peer.closes()?;
    match &peer.seen.goaway {
        None => Ok(()),
        Some(said) => fail(peer, format!("it answers {said:?}")),
    }
}
