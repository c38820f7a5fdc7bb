use std::time::{Duration, Instant};

use super::{List, fail};
use crate::frame::{Broken, Frame, LEAST, Settings, broken, header};
use crate::judge::Seen;
use crate::peer::{Outcome, Peer};

const WINDOW: usize = 65_536;

/// Time in which nothing more must come.
const QUIET: Duration = Duration::from_millis(50);

pub(super) const LENDING: Settings = Settings {
    budget: 200_000,
    ..LEAST
};

pub fn add_sending(list: &mut List) {
    list.both(
        "W10.3",
        "it sends a window, and no more without a WINDOW",
        |peer| {
            peer.greet()?;
            stuck(peer).map(drop)
        },
    );
    list.both("W10.1", "it goes on when a WINDOW comes", |peer| {
        peer.greet()?;
        let channel = stuck(peer)?;
        peer.give(channel);
        peer.wait("the rest", |seen| {
            seen.channel(channel).data.len() == WINDOW + 20_000
        })
    });
    list.both("W10.1", "it uses a larger window", |peer| {
        peer.greet_with(Settings {
            window: 1 << 20,
            ..LEAST
        })?;
        let channel = peer.open();
        peer.send(channel, 300_000)?;
        peer.wait("the echo", |seen| {
            seen.channel(channel).data.len() == 300_000
        })
    });
    list.both(
        "W10.3",
        "one channel borrows no more than the budget",
        |peer| {
            peer.greet_with(LENDING)?;
            let channel = peer.open();
            peer.pour(channel, 600_000)?;
            peer.listen(QUIET)
        },
    );
    list.both(
        "W10.3",
        "all channels borrow no more than the budget",
        |peer| {
            peer.greet_with(LENDING)?;
            for _ in 0..5 {
                let channel = peer.open();
                peer.pour(channel, 200_000)?;
            }
            peer.listen(QUIET)
        },
    );
    list.both(
        "W10.3",
        "a channel that nobody reads stops no other",
        |peer| {
            peer.greet()?;
            stuck(peer)?;
            peer.echo().map(drop)
        },
    );
    list.both("W10.1", "a mebibyte comes back, as WINDOWs come", |peer| {
        peer.greet()?;
        let channel = peer.open();
        flow(peer, &[channel], 1 << 20)
    });
    list.both(
        "W10.3",
        "five channels with half a mebibyte each, over a small budget",
        |peer| {
            peer.greet_with(LENDING)?;
            let channels: Vec<u32> = (0..5).map(|_| peer.open()).collect();
            flow(peer, &channels, 1 << 19)
        },
    );
    for loan in [0, u32::MAX] {
        list.both(
            "W11.4",
            format!("a loan of {loan} is advice"),
            move |peer| {
                peer.greet_with(LENDING)?;
                let channel = peer.open();
                peer.pour(channel, 65_536)?;
                peer.wait("a window", |seen| {
                    seen.channel(channel).data.len() == WINDOW
                })?;
                peer.say(&Frame::Window(channel, 2 * WINDOW as u64, loan));
                peer.pour(channel, 400_000)?;
                peer.wait("another", |seen| {
                    seen.channel(channel).data.len() >= 2 * WINDOW
                })
            },
        );
    }
    list.both("W10.3", "a byte beyond the window and the budget", |peer| {
        peer.greet()?;
        let channel = full(peer)?;
        peer.bytes(&header(0x05, channel, 1));
        peer.ends(2)
    });
    list.both(
        "W10.3",
        "a byte of another channel, beyond its window",
        |peer| {
            peer.greet()?;
            full(peer)?;
            let channel = full(peer)?;
            peer.bytes(&header(0x05, channel, 1));
            peer.ends(2)
        },
    );
    list.both("W10.2", "a frame that is partly borrowed", |peer| {
        peer.greet()?;
        if peer.seen.theirs().budget == 0 {
            return Err(broken("skip", "it has no budget"));
        }
        let channel = peer.open();
        let limit = u64::from(peer.seen.theirs().window);
        peer.pour(channel, limit - 1)?;
        peer.say(&Frame::Data(channel, vec![b'x'; 2]));
        peer.alive()
    });
    list.both("W10.5", "DATA counts behind its STOP, too", |peer| {
        peer.greet()?;
        if peer.seen.theirs().budget > 1 << 28 {
            return Err(broken("skip", "its budget is large"));
        }
        let channel = peer.echo()?;
        peer.say(&Frame::Stop(channel, 1));
        // Its application may notice that only by its next write.
        peer.say(&Frame::Data(channel, b"x".to_vec()));
        let stopped = peer.wait("its STOP", |seen| seen.channel(channel).stop.is_some());
        if stopped.is_err() && peer.seen.goaway.is_none() && peer.seen.end.is_none() {
            return Err(broken("skip", "it goes on reading"));
        }
        stopped?;
        peer.pour(channel, u64::MAX)?;
        peer.bytes(&header(0x05, channel, 1));
        peer.ends(2)
    });
    list.both(
        "W10.3",
        "a window of a new channel, though the budget is lent",
        |peer| {
            peer.greet()?;
            full(peer)?;
            let channel = peer.open();
            peer.send(channel, WINDOW)?;
            peer.alive()
        },
    );
}

/// A channel whose echo has used up its credit, and has 20,000 bytes more.
fn stuck(peer: &mut Peer) -> Result<u32, Broken> {
    let channel = peer.open();
    peer.send(channel, WINDOW)?;
    peer.wait("a window", |seen| {
        seen.channel(channel).data.len() == WINDOW
    })?;
    peer.send(channel, 20_000)?;
    peer.alive()?;
    peer.listen(QUIET)?;
    Ok(channel)
}

/// A channel that can take no more, nor can the budget.
pub(super) fn full(peer: &mut Peer) -> Result<u32, Broken> {
    if peer.seen.theirs().budget > 1 << 28 {
        return Err(broken("skip", "its budget is large"));
    }
    let channel = peer.open();
    peer.pour(channel, u64::MAX)?;
    peer.alive()?;
    peer.pour(channel, u64::MAX)?;
    Ok(channel)
}

/// So many bytes go and come back on each channel.
pub(super) fn flow(peer: &mut Peer, channels: &[u32], total: usize) -> Outcome {
    let until = Instant::now() + Duration::from_secs(20);
    let done = |seen: &Seen, channel: &u32| seen.channel(*channel).data.len() == total;
    while !channels.iter().all(|channel| done(&peer.seen, channel)) {
        for &channel in channels {
            let of = peer.seen.channel(channel);
            let left = total as u64 - of.sent;
            let room = of.limit.saturating_sub(of.sent).min(left).min(16_384);
            if room > 0 {
                peer.say(&Frame::Data(channel, vec![b'x'; room as usize]));
            }
            peer.give(channel);
        }
        peer.listen(Duration::ZERO)?;
        if Instant::now() > until || peer.seen.end.is_some() {
            return fail(peer, "it gets stuck");
        }
    }
    Ok(())
}

pub fn add_windows(list: &mut List) {
    let wrong: [(&str, u64); 5] = [
        ("lowers the limit", 0),
        ("does not rise", 65_536),
        ("rises by less than half a window", 65_536 + 32_767),
        ("is beyond what was sent and a window", 40_000 + 65_536 + 1),
        ("is the highest number", u64::MAX),
    ];
    for (name, limit) in wrong {
        list.both("W11.1", format!("a WINDOW that {name}"), move |peer| {
            peer.greet()?;
            let channel = echoed(peer, 40_000)?;
            peer.bytes(&Frame::Window(channel, limit, 2 << 20).encode());
            peer.ends(2)
        });
    }
    for limit in [65_536 + 32_768, 40_000 + 65_536] {
        list.both(
            "W11.1",
            format!("a WINDOW to {limit} is taken"),
            move |peer| {
                peer.greet()?;
                let channel = echoed(peer, 40_000)?;
                peer.say(&Frame::Window(channel, limit, 2 << 20));
                peer.alive()?;
                peer.echo_on(channel, b"goes on")
            },
        );
    }
    list.both("W11.1", "half of an odd window is rounded up", |peer| {
        let window = 65_537;
        peer.greet_with(Settings { window, ..LEAST })?;
        let channel = echoed(peer, 40_000)?;
        let limit = u64::from(window) + 32_769;
        peer.say(&Frame::Window(channel, limit, 2 << 20));
        peer.alive()?;
        let channel = echoed(peer, 40_000)?;
        peer.bytes(&Frame::Window(channel, limit - 1, 2 << 20).encode());
        peer.ends(2)
    });
    list.both("W11.1", "a second WINDOW rises from the first", |peer| {
        peer.greet()?;
        let channel = echoed(peer, 40_000)?;
        peer.say(&Frame::Window(channel, 98_304, 2 << 20));
        peer.bytes(&Frame::Window(channel, 98_304 + 7_000, 2 << 20).encode());
        peer.ends(2)
    });
    list.both(
        "W14.4",
        "W11 binds a WINDOW behind the end of its direction",
        |peer| {
            peer.greet()?;
            let channel = echoed(peer, 5)?;
            peer.say(&Frame::Stop(channel, 1));
            peer.wait("RESET", |seen| seen.channel(channel).reset.is_some())?;
            peer.bytes(&Frame::Window(channel, 65_537, 2 << 20).encode());
            peer.ends(2)
        },
    );
    list.both("W11.3", "a WINDOW comes when all was read", |peer| {
        peer.greet()?;
        let window = u64::from(peer.seen.theirs().window).min(1 << 24) as usize;
        let channel = peer.open();
        for _ in 0..window / 16_384 {
            peer.say(&Frame::Data(channel, vec![1; 16_384]));
            peer.listen(Duration::ZERO)?;
            peer.give(channel);
        }
        peer.soon("a WINDOW", |seen| seen.channel(channel).windows > 0)
    });
    list.both(
        "W11.3",
        "a WINDOW comes when half a window was read",
        |peer| {
            peer.greet()?;
            let half = peer.seen.theirs().window.div_ceil(2) as usize;
            if half > 1 << 15 {
                return Err(broken("skip", "its window is large"));
            }
            let channel = peer.open();
            peer.send(channel, half)?;
            peer.wait("a WINDOW", |seen| seen.channel(channel).windows > 0)
        },
    );
    list.both("W11.2", "bytes that have not come were not read", |peer| {
        peer.greet()?;
        let channel = echoed(peer, 30_000)?;
        peer.give(channel);
        let mut cut = header(0x05, channel, 16_384);
        cut.resize(8 + 16_383, 7);
        peer.bytes(&cut);
        // The WINDOW may count the bytes that came, and not the last one.
        peer.seen.channels.entry(channel).or_default().sent += 16_383;
        peer.listen(Duration::from_millis(200))?;
        peer.bytes(&[7]);
        peer.seen.channels.entry(channel).or_default().sent += 1;
        peer.alive()
    });
}

/// A channel on which so many bytes came back.
fn echoed(peer: &mut Peer, bytes: usize) -> Result<u32, Broken> {
    let channel = peer.open();
    peer.send(channel, bytes)?;
    peer.wait("the echo", |seen| seen.channel(channel).data.len() == bytes)?;
    Ok(channel)
}
