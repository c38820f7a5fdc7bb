use std::time::Duration;

use super::{List, fail};
use crate::frame::{Frame, broken};
use crate::judge::REFUSED;
use crate::peer::{Outcome, Peer};

/// Frames that name a channel, where `sent` bytes went before.
fn uses(channel: u32) -> [(&'static str, Frame); 5] {
    [
        ("WINDOW", Frame::Window(channel, 98_304, 2 << 20)),
        ("FIN", Frame::Fin(channel, 0)),
        ("STOP", Frame::Stop(channel, 0)),
        ("RESET", Frame::Reset(channel, 0, 0)),
        ("DATA", Frame::Data(channel, b"hello".to_vec())),
    ]
}

pub fn add_numbers(list: &mut List) {
    list.both("W13.1", "an echo", |peer| {
        peer.greet()?;
        peer.echo().map(drop)
    });
    list.both("W13.3", "OPEN, DATA and FIN at once", |peer| {
        peer.greet()?;
        let channel = peer.open();
        peer.say(&Frame::Data(channel, b"hello".to_vec()));
        close(peer, channel)?;
        match peer.seen.channel(channel).data == b"hello" {
            true => Ok(()),
            false => fail(peer, "the echo has other bytes"),
        }
    });
    list.both("W13.1", "numbers go up, closed channels or not", |peer| {
        peer.greet()?;
        let first = peer.echo()?;
        close(peer, first)?;
        peer.echo()?;
        peer.echo().map(drop)
    });
    for (name, step) in [
        ("skips one", 2),
        ("is of the other side", 1),
        ("repeats one", -2),
    ] {
        list.both(
            "W13.1",
            format!("an OPEN whose number {name}"),
            move |peer| {
                peer.greet()?;
                peer.echo()?;
                let number = peer.number().wrapping_add_signed(step);
                peer.bytes(&Frame::Open(number).encode());
                peer.ends(1)
            },
        );
    }
    list.both("W13.1", "an OPEN above 2^31 - 1", |peer| {
        peer.greet()?;
        let number = peer.number() + (1 << 31);
        peer.bytes(&Frame::Open(number).encode());
        peer.ends(1)
    });
    list.both("W13.1", "many channels at once, in any order", |peer| {
        peer.greet()?;
        let numbers: Vec<u32> = (0..200).map(|_| peer.open()).collect();
        for round in 0..3u8 {
            for &channel in numbers.iter().rev() {
                peer.say(&Frame::Data(channel, vec![round, channel as u8]));
            }
        }
        peer.wait("200 echoes", |seen| {
            numbers.iter().all(|channel| {
                let low = *channel as u8;
                seen.channel(*channel).data == [0, low, 1, low, 2, low]
            })
        })
    });
    for index in 0..5 {
        let name = uses(1)[index].0;
        list.both(
            "W13.4",
            format!("{name} for a channel that was never opened"),
            move |peer| {
                peer.greet()?;
                let number = peer.number() + 2;
                peer.bytes(&uses(number)[index].1.encode());
                peer.ends(1)
            },
        );
        list.both(
            "W13.4",
            format!("{name} for one that it has not opened"),
            move |peer| {
                peer.greet()?;
                let number = peer.seen.next + 200;
                peer.bytes(&uses(number)[index].1.encode());
                peer.ends(1)
            },
        );
    }
    list.both("W13.2", "as many channels as it allows", |peer| {
        peer.greet()?;
        fill(peer)?;
        peer.alive()
    });
    list.both("W13.2", "one channel more than it allows", |peer| {
        peer.greet()?;
        fill(peer)?;
        peer.alive()?;
        let number = peer.number();
        peer.bytes(&Frame::Open(number).encode());
        peer.ends(3)
    });
    for count in [0, 1, 256] {
        list.both(
            "W16.1",
            format!("a count of {count} is dropped"),
            move |peer| {
                peer.greet()?;
                peer.bytes(&Frame::MaxChannels(count).encode());
                peer.alive()
            },
        );
    }
    list.both(
        "W16.3",
        "a quarter of the channels was closed: the count rises",
        |peer| {
            peer.greet()?;
            let count = peer.seen.count;
            skip_large(peer, count)?;
            for _ in 0..count / 4 {
                let channel = peer.open();
                close(peer, channel)?;
            }
            peer.soon("MAX_CHANNELS", |seen| seen.count > count)
        },
    );
    list.both(
        "W16.3",
        "it is short of channels: the count rises for each",
        |peer| {
            peer.greet()?;
            let count = peer.seen.count;
            skip_large(peer, count)?;
            let first = peer.open();
            for _ in 1..count {
                peer.open();
            }
            close(peer, first)?;
            peer.soon("MAX_CHANNELS", |seen| seen.count > count)
        },
    );
    list.both(
        "W16.2",
        "channels beyond the first count, as others close",
        |peer| {
            peer.greet()?;
            let first = peer.seen.count;
            skip_large(peer, first)?;
            for opened in 0..first + 50 {
                peer.wait("MAX_CHANNELS", |seen| seen.count > opened)?;
                let channel = peer.open();
                close(peer, channel)?;
            }
            Ok(())
        },
    );
}

/// Opens all that it allows.
fn fill(peer: &mut Peer) -> Outcome {
    let count = peer.seen.count;
    skip_large(peer, count)?;
    for _ in 0..count {
        peer.open();
    }
    Ok(())
}

/// A limit that can't be reached in a case.
fn skip_large(peer: &Peer, count: u32) -> Outcome {
    match count <= 20_000 {
        true => Ok(()),
        false => Err(broken(
            "skip",
            format!("{:?} allows {count} channels", peer.role),
        )),
    }
}

/// Ends both directions.
fn close(peer: &mut Peer, channel: u32) -> Outcome {
    peer.say(&Frame::Fin(channel, 0));
    peer.wait("its FIN", |seen| seen.channel(channel).fin.is_some())
}

pub fn add_ends(list: &mut List) {
    list.both("W14.1", "FIN is answered by FIN", |peer| {
        peer.greet()?;
        let channel = peer.open();
        close(peer, channel)
    });
    list.both("W14.2", "all bytes before a FIN count", |peer| {
        peer.greet()?;
        let channel = peer.open();
        for body in 0..50 {
            peer.say(&Frame::Data(channel, vec![body; 1000]));
        }
        close(peer, channel)?;
        let right: Vec<u8> = (0..50).flat_map(|body| [body; 1000]).collect();
        match peer.seen.channel(channel).data == right {
            true => Ok(()),
            false => fail(peer, "the echo has other bytes"),
        }
    });
    list.both("W14.2", "a RESET ends the echo", |peer| {
        peer.greet()?;
        let channel = peer.echo()?;
        peer.say(&Frame::Reset(channel, 7, 0));
        peer.wait("its end", |seen| seen.channel(channel).is_ended())
    });
    for (end, name) in [
        (Frame::Fin as fn(u32, u64) -> Frame, "FIN"),
        (reset, "RESET"),
    ] {
        for index in [1, 3, 4] {
            let second = uses(1)[index].0;
            list.both("W14.1", format!("{second} behind {name}"), move |peer| {
                peer.greet()?;
                let channel = peer.open();
                peer.say(&end(channel, 0));
                peer.bytes(&uses(channel)[index].1.encode());
                peer.ends(1)
            });
        }
    }
    for index in [1, 3, 4] {
        let second = uses(1)[index].0;
        list.both(
            "W14.1",
            format!("{second} for a closed channel"),
            move |peer| {
                peer.greet()?;
                let channel = peer.echo()?;
                close(peer, channel)?;
                peer.alive()?;
                peer.bytes(&uses(channel)[index].1.encode());
                peer.ends(1)
            },
        );
    }
    list.both("W14.3", "STOP is answered by RESET", |peer| {
        peer.greet()?;
        let channel = peer.echo()?;
        peer.say(&Frame::Stop(channel, 9));
        peer.wait("RESET", |seen| seen.channel(channel).reset.is_some())
    });
    list.both("W14.3", "the RESET has the code of the STOP", |peer| {
        peer.greet()?;
        let channel = peer.echo()?;
        peer.say(&Frame::Stop(channel, 9));
        peer.wait("RESET", |seen| seen.channel(channel).reset.is_some())?;
        match peer.seen.channel(channel).reset {
            Some((9, _)) => Ok(()),
            other => fail(peer, format!("it says {other:?}")),
        }
    });
    list.should();
    list.both("W14.3", "DATA and a STOP that cross", |peer| {
        peer.greet()?;
        let channel = peer.echo()?;
        peer.say(&Frame::Stop(channel, 9));
        peer.say(&Frame::Data(channel, b"more".to_vec()));
        peer.say(&Frame::Fin(channel, 0));
        peer.wait("RESET", |seen| seen.channel(channel).is_ended())?;
        peer.alive()
    });
    list.both("W14.4", "STOP for a direction that has ended", |peer| {
        peer.greet()?;
        let channel = peer.open();
        close(peer, channel)?;
        peer.say(&Frame::Stop(channel, 1));
        peer.alive()?;
        match peer.seen.channel(channel).reset {
            None => Ok(()),
            Some(_) => fail(peer, "a second end"),
        }
    });
    list.both("W14.4", "WINDOW for a closed channel", |peer| {
        peer.greet()?;
        let channel = peer.open();
        peer.send(channel, 40_000)?;
        peer.wait("the echo", |seen| {
            seen.channel(channel).data.len() == 40_000
        })?;
        close(peer, channel)?;
        peer.alive()?;
        peer.say(&Frame::Window(channel, 98_304, 2 << 20));
        peer.alive()
    });
    list.both("W18.4", "a second STOP is dropped", |peer| {
        peer.greet()?;
        let channel = peer.echo()?;
        peer.say(&Frame::Stop(channel, 1));
        peer.say(&Frame::Stop(channel, 2));
        peer.wait("RESET", |seen| seen.channel(channel).reset.is_some())?;
        peer.alive()
    });
    list.both("W14.8", "another channel does not notice an end", |peer| {
        peer.greet()?;
        let (first, second) = (peer.echo()?, peer.echo()?);
        peer.say(&Frame::Reset(first, 7, 0));
        peer.say(&Frame::Stop(first, 7));
        peer.echo_on(second, b"goes on")
    });
}

fn reset(channel: u32, debt: u64) -> Frame {
    Frame::Reset(channel, 0, debt)
}

pub fn add_refusals(list: &mut List) {
    list.both(
        "W15.2",
        "the code of a refusal from the opener is like any other",
        |peer| {
            peer.greet()?;
            let channel = peer.echo()?;
            peer.say(&Frame::Stop(channel, REFUSED));
            peer.say(&Frame::Data(channel, b"more".to_vec()));
            peer.say(&Frame::Reset(channel, REFUSED, 0));
            peer.alive()?;
            peer.wait("its end", |seen| seen.channel(channel).is_ended())
        },
    );
    list.both(
        "W14.3",
        "a refusal by the opener is not answered as one",
        |peer| {
            peer.greet()?;
            let channel = peer.open();
            peer.say(&Frame::Stop(channel, REFUSED));
            peer.wait("RESET", |seen| seen.channel(channel).reset.is_some())?;
            match peer.seen.channel(channel).reset {
                Some((REFUSED, _)) => fail(peer, "it says that it refuses"),
                _ => Ok(()),
            }
        },
    );
    list.client("W15.1", "a refusal of its own channel", |peer| {
        refuse(peer)?;
        peer.say(&Frame::Reset(1, REFUSED, 0));
        peer.wait("its RESET", |seen| seen.channel(1).is_ended())?;
        peer.alive()
    });
    for index in [0, 1, 4] {
        let name = uses(1)[index].0;
        list.client(
            "W15.3",
            format!("{name} behind a STOP that refuses"),
            move |peer| {
                refuse(peer)?;
                peer.alive()?;
                peer.bytes(&uses(1)[index].1.encode());
                peer.ends(1)
            },
        );
    }
    list.client(
        "W15.2",
        "DATA before and behind a STOP with the code of a refusal",
        |peer| {
            peer.greet()?;
            let channel = peer.channel_of_client()?;
            peer.say(&Frame::Data(channel, b"taken".to_vec()));
            peer.say(&Frame::Stop(channel, REFUSED));
            peer.say(&Frame::Data(channel, b"more".to_vec()));
            peer.say(&Frame::Fin(channel, 0));
            peer.alive()
        },
    );
    list.both("W15.3", "it uses no channel that it refuses", |peer| {
        peer.greet()?;
        let numbers: Vec<u32> = (0..200).map(|_| peer.open()).collect();
        for channel in numbers {
            peer.say(&Frame::Data(channel, b"x".to_vec()));
            peer.say(&Frame::Reset(channel, 7, 0));
        }
        peer.alive()?;
        peer.listen(Duration::from_millis(20))
    });
}

/// Refuses the channel that the client opens.
fn refuse(peer: &mut Peer) -> Outcome {
    peer.greet()?;
    let channel = peer.channel_of_client()?;
    peer.say(&Frame::Stop(channel, REFUSED));
    Ok(())
}
