use super::credit::{LENDING, flow, full};
use super::{List, fail};
use crate::frame::{Broken, Frame, broken};
use crate::judge::Seen;
use crate::peer::Peer;

fn reset(channel: u32, debt: u64) -> Frame {
    Frame::Reset(channel, 0, debt)
}

pub fn add(list: &mut List) {
    for (end, name) in [
        (Frame::Fin as fn(u32, u64) -> Frame, "FIN"),
        (reset, "RESET"),
    ] {
        list.both(
            "W12.2",
            format!("{name} owes more than was sent"),
            move |peer| {
                peer.greet()?;
                let channel = peer.echo()?;
                peer.bytes(&end(channel, 6).encode());
                peer.ends(2)
            },
        );
        list.both(
            "W12.2",
            format!("{name} owes the highest number"),
            move |peer| {
                peer.greet()?;
                let channel = peer.echo()?;
                peer.bytes(&end(channel, u64::MAX).encode());
                peer.ends(2)
            },
        );
        list.both(
            "W12.2",
            format!("{name} owes less than was borrowed"),
            move |peer| {
                peer.greet()?;
                let (channel, debt) = in_debt(peer)?;
                peer.bytes(&end(channel, debt - 1).encode());
                peer.ends(2)
            },
        );
        list.both(
            "W12.2",
            format!("{name} owes more than the budget"),
            move |peer| {
                peer.greet()?;
                let budget = peer.seen.theirs().budget;
                if budget > 1 << 22 {
                    return Err(broken("skip", "its budget is large"));
                }
                let channel = peer.open();
                let total = budget as usize + 1;
                flow(peer, &[channel], total)?;
                peer.bytes(&end(channel, budget + 1).encode());
                peer.ends(2)
            },
        );
        list.both(
            "W12.1",
            format!("{name} owes what was borrowed"),
            move |peer| {
                peer.greet()?;
                let (channel, debt) = in_debt(peer)?;
                peer.say(&end(channel, debt));
                peer.alive()
            },
        );
    }
    for total in [0, 1, u64::MAX] {
        let name = format!("a RETURN of {total} where nobody owes");
        list.violation("W12.4", name, Frame::Return(total).encode(), 2);
    }
    list.both("W12.5", "a RETURN comes when a debt can be paid", |peer| {
        peer.greet()?;
        let (channel, debt) = in_debt(peer)?;
        if debt < Seen::least_return(peer.seen.theirs()) {
            return Err(broken("skip", "too little can be borrowed"));
        }
        // Its application waits for credit, and learns by the STOP that none comes.
        peer.say(&Frame::Reset(channel, 7, debt));
        peer.say(&Frame::Stop(channel, 7));
        let least = Seen::least_return(peer.seen.theirs());
        peer.soon("RETURN", |seen| seen.returned + least > debt)
    });
    list.both(
        "W12.5",
        "what was paid back can be borrowed again",
        |peer| {
            peer.greet()?;
            let least = Seen::least_return(peer.seen.theirs());
            for _ in 0..3 {
                let (channel, debt) = in_debt(peer)?;
                if debt < least {
                    return Err(broken("skip", "too little can be borrowed"));
                }
                peer.say(&Frame::Reset(channel, 7, debt));
                peer.say(&Frame::Stop(channel, 7));
                peer.wait("RETURN", |seen| seen.returned + least > seen.owed())?;
            }
            Ok(())
        },
    );
    list.both("W12.1", "its RESET owes what it has borrowed", |peer| {
        owing(peer).map(drop)
    });
    list.both("W12.1", "its FIN owes what it has borrowed", |peer| {
        peer.greet_with(LENDING)?;
        let (channel, total) = (peer.open(), 65_536 + 60_000);
        peer.send(channel, total)?;
        let borrows = peer.wait("what it borrows", |seen| {
            seen.channel(channel).data.len() == total
        });
        if borrows.is_err() && peer.seen.goaway.is_none() && peer.seen.end.is_none() {
            return Err(broken("skip", "it borrows too little"));
        }
        borrows?;
        peer.say(&Frame::Fin(channel, 0));
        peer.wait("FIN", |seen| seen.channel(channel).fin.is_some())?;
        match peer.seen.channel(channel).fin {
            Some(60_000) => Ok(()),
            other => fail(peer, format!("it says {other:?}, and has borrowed 60000")),
        }
    });
    list.both(
        "W12.4",
        "it takes a RETURN, and may borrow that again",
        |peer| {
            let debt = owing(peer)?;
            peer.say(&Frame::Return(debt));
            peer.alive()?;
            let channel = peer.open();
            flow(peer, &[channel], 100_000)
        },
    );
    list.both("W12.4", "a RETURN of more than it owes", |peer| {
        let debt = owing(peer)?;
        peer.bytes(&Frame::Return(debt + 1).encode());
        peer.ends(2)
    });
    list.both("W12.4", "a RETURN that rises by too little", |peer| {
        let debt = owing(peer)?;
        let least = Seen::least_return(LENDING);
        peer.bytes(&Frame::Return(debt.min(least - 1)).encode());
        peer.ends(2)
    });
    list.both("W12.4", "the same RETURN twice", |peer| {
        let debt = owing(peer)?;
        peer.say(&Frame::Return(debt));
        peer.bytes(&Frame::Return(debt).encode());
        peer.ends(2)
    });
    list.both(
        "W12.3",
        "a WINDOW that crosses an end with a debt",
        |peer| {
            let debt = owing(peer)?;
            // It pays nothing back, so the whole debt still can be.
            let (channel, _) = peer
                .seen
                .channels
                .iter()
                .find(|(_, of)| of.reset.is_some())
                .unwrap();
            let channel = *channel;
            let limit = peer.seen.channel(channel).data.len() as u64;
            peer.bytes(&Frame::Window(channel, limit, 2 << 20).encode());
            let other = peer.open();
            peer.pour(other, 300_000)?;
            peer.say(&Frame::Return(debt));
            peer.alive()
        },
    );
}

/// A channel of the kit's that has borrowed, and how much.
fn in_debt(peer: &mut Peer) -> Result<(u32, u64), Broken> {
    if peer.seen.theirs().budget == 0 {
        return Err(broken("skip", "it has no budget"));
    }
    let channel = full(peer)?;
    let of = peer.seen.channel(channel);
    match of.sent - of.limit {
        0 => fail(peer, "nothing was borrowed"),
        debt => Ok((channel, debt)),
    }
}

/// The endpoint under test has borrowed, and ended by a RESET that says how much.
fn owing(peer: &mut Peer) -> Result<u64, Broken> {
    peer.greet_with(LENDING)?;
    let channel = peer.open();
    peer.pour(channel, 300_000)?;
    let least = Seen::least_return(LENDING);
    let borrows = peer.wait("what it borrows", |seen| {
        seen.channel(channel).debt() >= least
    });
    if borrows.is_err() && peer.seen.goaway.is_none() && peer.seen.end.is_none() {
        return Err(broken("skip", "it borrows too little"));
    }
    borrows?;
    peer.say(&Frame::Stop(channel, 1));
    peer.wait("RESET", |seen| seen.channel(channel).reset.is_some())?;
    // All that it sent has come before its RESET.
    let debt = peer.seen.channel(channel).debt();
    match peer.seen.channel(channel).reset {
        Some((_, said)) if said == debt => Ok(debt),
        other => fail(peer, format!("it says {other:?}, and has borrowed {debt}")),
    }
}
