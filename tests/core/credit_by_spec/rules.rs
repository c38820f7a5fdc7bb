//! The rules W10, W11 and W12 of the wire, and what the documents say of lending,
//! as a judge that sees both sides' frames and what their applications do. It was
//! written from the documents alone.
#![allow(dead_code)] // each test file uses a part

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tcpchan::wire::{Control, Decoded, Decoder, Protocol, Settings};

const MIB: u128 = 1 << 20;
const FRAME: u128 = 16 << 10;
const FIRST: u128 = 4 << 10;
const LATEST: Duration = Duration::from_millis(100);

/// A direction of a channel as its sender sees it.
#[derive(Default)]
struct Out {
    written: u64,
    sent: u64,
    /// That of the last WINDOW that came.
    limit: Option<u64>,
    /// What the last WINDOW advised.
    loan: Option<u32>,
    ended: bool,
    /// What was written may be dropped.
    loose: bool,
}

/// A direction of a channel as its receiver sees it.
#[derive(Default)]
struct In {
    got: u64,
    read: u64,
    /// The limit of the last WINDOW that was said.
    said: Option<u64>,
    ended: bool,
    dropped: bool,
    /// What had been read and what was still to come of a frame at the last read.
    counted: u64,
    /// Its application has it; what it was never given is refused.
    taken: bool,
    due: Option<Instant>,
}

/// What the judge saw, so that a test can tell that it saw something.
#[derive(Default, Debug, Clone, Copy)]
pub struct Seen {
    pub windows: u64,
    pub returns: u64,
    pub borrowed: u64,
    pub last_quarter: u64,
    pub full: u64,
    pub debts: u64,
}

struct Side {
    mine: Settings,
    theirs: Settings,
    said: Decoder,
    heard: Decoder,
    outs: BTreeMap<u32, Out>,
    ins: BTreeMap<u32, In>,
    /// Debts of the ends that this side said, and how many were paid back.
    owes: u128,
    paid: u128,
    /// Debts of the ends that this side heard, and what it said was paid back.
    is_owed: u128,
    returned: u128,
    greeted: bool,
    /// Bytes that are still to come of the DATA frame that comes.
    coming: (u32, u64),
    seen: Seen,
}

impl Side {
    fn new(mine: Settings) -> Side {
        Side {
            mine,
            theirs: Settings::default(),
            said: Decoder::new(Protocol::V1),
            heard: Decoder::new(Protocol::V1),
            outs: BTreeMap::new(),
            ins: BTreeMap::new(),
            owes: 0,
            paid: 0,
            is_owed: 0,
            returned: 0,
            greeted: false,
            coming: (0, 0),
            seen: Seen::default(),
        }
    }

    fn limit(&self, out: &Out) -> u64 {
        out.limit.unwrap_or(self.theirs.initial_window.into())
    }

    fn debt(&self, out: &Out) -> u128 {
        match out.ended {
            true => 0, // it is in `owes`
            false => out.sent.saturating_sub(self.limit(out)).into(),
        }
    }

    /// All debts of this side, as it knows them.
    fn debts(&self) -> u128 {
        let live: u128 = self.outs.values().map(|out| self.debt(out)).sum();
        live + self.owes - self.paid
    }

    fn said_limit(&self, of: &In) -> u64 {
        of.said.unwrap_or(self.mine.initial_window.into())
    }

    /// All debts of the peer, as this side knows them.
    fn lent(&self) -> u128 {
        let one = |of: &In| match of.ended {
            true => 0,
            false => of.got.saturating_sub(self.said_limit(of)).into(),
        };
        self.ins.values().map(one).sum::<u128>() + self.is_owed - self.returned
    }

    /// Its application may have used it before its OPEN leaves.
    fn opens(&mut self, channel: u32) {
        self.ins.entry(channel).or_default();
        self.outs.entry(channel).or_default();
    }

    fn out(&mut self, channel: u32) -> &mut Out {
        self.outs.entry(channel).or_default()
    }

    fn in_(&mut self, channel: u32) -> &mut In {
        self.ins.entry(channel).or_default()
    }

    fn says_data(&mut self, channel: u32, len: u64) {
        let budget = u128::from(self.theirs.receive_budget);
        let window = u128::from(self.theirs.initial_window);
        let out = self.out(channel);
        assert!(!out.ended, "DATA behind an end");
        out.sent += len;
        let (waits, loose) = (out.written.saturating_sub(out.sent), out.loose);
        let out = &self.outs[&channel];
        let (debt, limit) = (self.debt(out), u128::from(self.limit(out)));
        let loan = out.loan.map_or(2 * MIB, u128::from);
        if debt == 0 {
            return;
        }
        self.seen.borrowed += 1;
        let all = self.debts();
        assert!(
            all <= budget,
            "W10: debts of {all}, and a budget of {budget}"
        );
        self.seen.full += u64::from(all == budget);
        assert!(debt <= loan, "lends {debt} to {channel} with {limit}");
        if all > budget - budget / 4 {
            self.seen.last_quarter += 1;
            assert!(
                debt <= MIB,
                "lends {debt} of the last quarter, {all} of {budget}"
            );
            let free = budget - (all - debt);
            assert!(
                4 * debt <= free,
                "lends {debt} of the last quarter, where {free} is free without it"
            );
        }
        // What it borrows for may leave in pieces.
        let beyond = u128::from(waits).min(FRAME - FRAME.min(len.into()));
        let room = all + beyond <= budget && debt + beyond <= loan;
        assert!(
            room || loose,
            "borrows for {len} where {waits} more wait: owes {debt} beyond {limit} of {window}, \
             all {all} of {budget}"
        );
    }

    fn says_end(&mut self, channel: u32, debt: u64) {
        let known = self.debt(&self.outs[&channel]);
        assert_eq!(u128::from(debt), known, "W12: the debt of an end");
        let out = self.out(channel);
        assert!(!out.ended, "two ends");
        out.ended = true;
        self.owes += known;
        self.seen.debts += u64::from(debt > 0);
    }

    fn says_window(&mut self, channel: u32, limit: u64) {
        let window = u64::from(self.mine.initial_window);
        let of = &self.ins[&channel];
        let last = self.said_limit(of);
        assert!(limit > last, "W11: from {last} to {limit}");
        assert!(
            limit - last >= window / 2,
            "W11: from {last} to {limit} of {window}"
        );
        let dropped = of.dropped || !of.taken;
        let read = if dropped { of.got } else { of.read };
        // Not so by the rule: `bytes_that_have_not_come_yet_were_not_read`.
        let counted = read.max(of.counted);
        assert!(
            limit <= counted + window,
            "W11: {channel} to {limit} where {read} of {} was read and the window is {window}",
            of.got
        );
        let of = self.in_(channel);
        (of.said, of.due) = (Some(limit), None);
        self.seen.windows += 1;
    }

    fn says_return(&mut self, total: u64) {
        let total = u128::from(total);
        assert!(
            total > self.returned,
            "W12: a RETURN from {} to {total}",
            self.returned
        );
        let rise = total - self.returned;
        let (window, budget) = (self.mine.initial_window, self.mine.receive_budget);
        assert!(
            rise >= u128::from(window / 2) || rise >= u128::from(budget / 4),
            "W12: rises by {rise}"
        );
        assert!(
            total <= self.is_owed,
            "W12: returns {total} of {}",
            self.is_owed
        );
        self.returned = total;
        // What is unread beyond the windows of channels that have ended stays lent.
        let beyond = |of: &In| match of.ended && !of.dropped && of.taken {
            true => u128::from((of.got - of.read.max(of.counted)).saturating_sub(window.into())),
            false => 0,
        };
        let unread: u128 = self.ins.values().map(beyond).sum();
        assert!(
            self.is_owed - total >= unread,
            "gives back what is still unread"
        );
        self.seen.returns += 1;
    }

    fn says(&mut self, bytes: &[u8]) {
        let mut decoder = std::mem::replace(&mut self.said, Decoder::new(Protocol::V1));
        let mut input = bytes;
        while let Some(decoded) = decoder.decode(&mut input).expect("frames") {
            match decoded {
                Decoded::Data { channel, len } => self.says_data(channel, len as u64),
                Decoded::Control(Control::Open { channel }) => self.opens(channel),
                Decoded::Control(Control::Fin { channel, debt })
                | Decoded::Control(Control::Reset { channel, debt, .. }) => {
                    self.says_end(channel, debt);
                }
                Decoded::Control(Control::Window { channel, limit, .. }) => {
                    self.says_window(channel, limit);
                }
                Decoded::Control(Control::Return { total }) => self.says_return(total),
                Decoded::Control(Control::Stop { channel, .. }) => {
                    self.in_(channel).dropped = true;
                }
                Decoded::Control(Control::GoAway { code, text, .. }) => {
                    panic!("GOAWAY {code}: {text}");
                }
                _ => {}
            }
        }
        self.said = decoder;
    }

    fn hears(&mut self, bytes: &[u8]) {
        let mut decoder = std::mem::replace(&mut self.heard, Decoder::new(Protocol::V1));
        let mut input = bytes;
        while let Some(decoded) = decoder.decode(&mut input).expect("frames") {
            match decoded {
                Decoded::Data { channel, len } => {
                    self.coming = (channel, len as u64);
                    self.in_(channel).got += len as u64;
                    let (lent, budget) = (self.lent(), self.mine.receive_budget);
                    assert!(
                        lent <= budget.into(),
                        "the receiver's figures: {lent} of {budget}"
                    );
                }
                Decoded::Payload(bytes) => self.coming.1 -= bytes.len() as u64,
                Decoded::Control(control) => self.hears_control(control),
                _ => {}
            }
        }
        self.heard = decoder;
        self.counts();
    }

    /// Not so by the rule: `bytes_that_have_not_come_yet_were_not_read`.
    fn counts(&mut self) {
        let (channel, coming) = self.coming;
        if coming > 0 {
            let of = self.in_(channel);
            of.counted = of.counted.max(of.read + coming);
        }
    }

    fn hears_control(&mut self, control: Control) {
        self.greeted = true;
        match control {
            Control::Settings { body } => self.theirs = Settings::decode(&body).expect("settings"),
            Control::Open { channel } => self.opens(channel),
            Control::Fin { channel, debt } => self.hears_end(channel, debt),
            Control::Reset { channel, debt, .. } => {
                self.hears_end(channel, debt);
                self.in_(channel).dropped = true;
            }
            Control::Window {
                channel,
                limit,
                loan,
            } => {
                let window = u64::from(self.theirs.initial_window);
                let (sent, last) = (self.outs[&channel].sent, self.limit(&self.outs[&channel]));
                assert!(limit <= sent + window, "W11: {limit} where {sent} was sent");
                assert!(limit > last, "W11: from {last} to {limit}");
                let out = self.out(channel);
                (out.limit, out.loan) = (Some(limit), Some(loan));
            }
            Control::Return { total } => {
                self.paid = total.into();
                assert!(self.paid <= self.owes, "W12: paid more than is owed");
            }
            Control::Stop { channel, .. } => self.out(channel).loose = true,
            _ => {}
        }
    }

    fn hears_end(&mut self, channel: u32, debt: u64) {
        let of = &self.ins[&channel];
        let least = of.got.saturating_sub(self.said_limit(of));
        assert!(
            debt >= least,
            "W12: a debt of {debt} where {least} was borrowed"
        );
        self.in_(channel).ended = true;
        self.is_owed += u128::from(debt);
        let (lent, budget) = (self.lent(), self.mine.receive_budget);
        assert!(
            lent <= budget.into(),
            "W12: the receiver's figures: {lent} of {budget}"
        );
    }

    /// A window must come where half of one can be given and the peer needs it.
    fn pays(&mut self, now: Instant, timer: Option<Instant>) {
        let (window, budget) = (
            u64::from(self.mine.initial_window),
            self.mine.receive_budget,
        );
        for (channel, of) in &mut self.ins {
            let said = of.said.unwrap_or(window);
            let due = !of.ended
                && !of.dropped
                && of.taken
                && 2 * (of.read + window - said.min(of.read + window)) >= window
                && (of.got > said || 2 * (said - of.got) <= window)
                && of.got - of.read <= window;
            if !due {
                of.due = None;
                continue;
            }
            assert!(
                budget > 0,
                "W11: no WINDOW at once on {channel} without a budget"
            );
            let latest = *of.due.get_or_insert(now) + LATEST;
            assert!(
                now < latest,
                "W11: no WINDOW on {channel} in time: got {}, read {}, said {said} of {window}",
                of.got,
                of.read
            );
            assert!(
                timer.is_some_and(|at| at <= latest),
                "no timer for a WINDOW on {channel}"
            );
        }
    }

    /// Who has said all that it will now has sent what it may.
    fn lends(&self, who: usize) {
        if who == 1 && !self.greeted {
            return; // W2: a server waits for the HELLO
        }
        let budget = u128::from(self.theirs.receive_budget);
        let all = self.debts();
        let is_waiting = |out: &&Out| out.written > out.sent && !out.ended;
        let alone = self.outs.values().filter(is_waiting).count() == 1;
        for (channel, out) in &self.outs {
            let waits = u128::from(out.written.saturating_sub(out.sent));
            if waits == 0 || out.ended || out.loose {
                continue;
            }
            let limit = u128::from(self.limit(out));
            assert!(
                u128::from(out.sent) >= limit,
                "{channel} sent {} of {limit} and {waits} wait",
                out.sent
            );
            // Its first 4 KiB may leave ahead, and borrow alone.
            let more = waits.min(FRAME + FIRST);
            let debt = self.debt(out) + more;
            let last_quarter = all + more > budget - budget / 4;
            let may = all + more <= budget
                && debt <= out.loan.map_or(2 * MIB, u128::from)
                && (!last_quarter || (debt <= MIB && 4 * debt <= budget - (all + more)));
            // Of several that wait, one that can't go on may hold up the others.
            assert!(
                !may || !alone,
                "{channel} may borrow {more} more: {debt} of {all} of {budget}, {waits} wait"
            );
        }
    }
}

pub struct Rules {
    sides: [Side; 2],
}

impl Rules {
    /// For sides with these settings.
    pub fn new(settings: [Settings; 2]) -> Rules {
        Rules {
            sides: settings.map(Side::new),
        }
    }

    /// A side sends this.
    pub fn says(&mut self, who: usize, bytes: &[u8]) {
        self.sides[who].says(bytes);
    }

    /// A side was given this.
    pub fn hears(&mut self, who: usize, bytes: &[u8]) {
        self.sides[who].hears(bytes);
    }

    /// A side took so many bytes to send.
    pub fn writes(&mut self, who: usize, channel: u32, bytes: usize) {
        self.sides[who].out(channel).written += bytes as u64;
    }

    /// A side may drop what it was given to send.
    pub fn gives_up(&mut self, who: usize, channel: u32) {
        self.sides[who].out(channel).loose = true;
    }

    /// The application of a side has the channel.
    pub fn takes(&mut self, who: usize, channel: u32) {
        self.sides[who].in_(channel).taken = true;
    }

    pub fn reads(&mut self, who: usize, channel: u32, bytes: usize) {
        self.sides[who].in_(channel).read += bytes as u64;
        self.sides[who].counts();
    }

    /// A side reads no more.
    pub fn drops(&mut self, who: usize, channel: u32) {
        self.sides[who].in_(channel).dropped = true;
    }

    /// A side has nothing more to say now, and its timer is this.
    pub fn is_silent(&mut self, who: usize, now: Instant, timer: Option<Instant>) {
        self.sides[who].pays(now, timer);
        self.sides[who].lends(who);
    }

    /// What of a side's budget its peer has not borrowed by the rules; none within a
    /// frame.
    pub fn budget_left(&self, who: usize) -> Option<u64> {
        let side = &self.sides[who];
        let left = u128::from(side.mine.receive_budget) - side.lent();
        (!side.heard.is_within_frame()).then(|| u64::try_from(left).expect("a budget"))
    }

    /// What is left if all that was read, or dropped, is given back, though the peer was
    /// not told yet.
    pub fn budget_left_at_most(&self, who: usize) -> u64 {
        let side = &self.sides[who];
        let window = u64::from(side.mine.initial_window);
        let held = |of: &In| match of.dropped || !of.taken {
            true => 0,
            false => u128::from((of.got - of.read.max(of.counted)).saturating_sub(window)),
        };
        let held: u128 = side.ins.values().map(held).sum();
        let left = u128::from(side.mine.receive_budget) - held;
        u64::try_from(left).expect("a budget")
    }

    /// Of a side's budget, what channels that have ended hold.
    pub fn unreturned(&self, who: usize) -> u64 {
        let side = &self.sides[who];
        u64::try_from(side.is_owed - side.returned).expect("a budget")
    }

    pub fn seen(&self) -> [Seen; 2] {
        [self.sides[0].seen, self.sides[1].seen]
    }
}
