//! What the endpoint under test has said, and whether it was allowed to: this looks on in
//! every case, whatever the case is about.

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::{Broken, Frame, LEAST, Settings, broken};
use crate::peer::Role;

/// The code that refuses.
pub const REFUSED: u32 = u32::MAX;

/// One channel, as the kit sees it.
#[derive(Debug, Default)]
pub struct Channel {
    /// Bytes that the kit has sent, and how many it may without borrowing.
    pub sent: u64,
    /// The last limit that came.
    pub limit: u64,
    /// What the kit's end said that it owes.
    pub owes: Option<u64>,
    /// The bytes that came.
    pub data: Vec<u8>,
    /// The last limit that the kit has said.
    pub said: u64,
    /// The FIN that came, with its debt.
    pub fin: Option<u64>,
    /// The RESET that came, with its code and debt.
    pub reset: Option<(u32, u64)>,
    /// The STOP that came.
    pub stop: Option<u32>,
    /// WINDOWs that came, and the loan of the last.
    pub windows: u32,
    /// It was refused, by a STOP.
    refused: bool,
}

impl Channel {
    fn is_used(&self) -> bool {
        !self.data.is_empty() || self.fin.is_some() || self.windows > 0
    }

    /// Whether the endpoint under test has ended its direction.
    pub fn is_ended(&self) -> bool {
        self.fin.is_some() || self.reset.is_some()
    }

    /// Whether both directions have ended.
    fn is_closed(&self) -> bool {
        self.is_ended() && self.owes.is_some()
    }

    /// What the endpoint under test has borrowed on it.
    pub fn debt(&self) -> u64 {
        (self.data.len() as u64).saturating_sub(self.said)
    }
}

/// All that was said on a connection.
#[derive(Debug)]
pub struct Seen {
    role: Role,
    /// What the kit says in its settings.
    pub mine: Settings,
    /// HELLO or HELLO_REPLY came, with this magic.
    pub magic: Option<u32>,
    /// The settings that came.
    pub settings: Option<Settings>,
    /// The channels of both sides.
    pub channels: BTreeMap<u32, Channel>,
    /// The next number of the endpoint under test.
    pub next: u32,
    /// PINGs of the kit without an answer, and all answers.
    pub waiting: BTreeSet<u64>,
    /// The answers that came.
    pub pongs: Vec<u64>,
    /// PINGs that came.
    pub pings: Vec<u64>,
    /// The last count that came, and the last that the kit has said.
    pub count: u32,
    /// How many channels the endpoint under test may open.
    pub allowed: u32,
    /// The last RETURN that came, and the last that the kit has said.
    pub returned: u64,
    /// What the kit has paid back of ended channels.
    pub paid: u64,
    /// DRAINs that came.
    pub drains: u32,
    /// The kit's DRAIN was answered.
    pub drained: bool,
    /// GOAWAY came: last, code and text.
    pub goaway: Option<(u32, u32, String)>,
    /// The transport has ended, perhaps by a reset.
    pub end: Option<&'static str>,
}

impl Seen {
    pub(crate) fn new(role: Role, mine: Settings) -> Seen {
        Seen {
            role,
            mine,
            magic: None,
            settings: None,
            channels: BTreeMap::new(),
            next: if role == Role::Client { 1 } else { 2 },
            waiting: BTreeSet::new(),
            pongs: Vec::new(),
            pings: Vec::new(),
            count: 0,
            allowed: mine.channels,
            returned: 0,
            paid: 0,
            drains: 0,
            drained: false,
            goaway: None,
            end: None,
        }
    }

    /// The settings of the endpoint under test, as far as they are known.
    pub fn theirs(&self) -> Settings {
        self.settings.unwrap_or(LEAST)
    }

    /// A channel, which may not be there yet.
    pub fn channel(&self, channel: u32) -> &Channel {
        static NONE: Channel = Channel {
            sent: 0,
            limit: 0,
            owes: None,
            data: Vec::new(),
            said: 0,
            fin: None,
            reset: None,
            stop: None,
            windows: 0,
            refused: false,
        };
        self.channels.get(&channel).unwrap_or(&NONE)
    }

    /// A channel that the kit opens.
    pub(crate) fn open(&mut self, channel: u32) {
        let (limit, said) = (self.theirs().window.into(), self.mine.window.into());
        let new = Channel {
            limit,
            said,
            ..Channel::default()
        };
        self.channels.insert(channel, new);
    }

    /// Whether a number is one that the endpoint under test opens.
    fn is_theirs(&self, channel: u32) -> bool {
        channel % 2 == self.next % 2
    }

    fn known(&mut self, channel: u32) -> Result<&mut Channel, Broken> {
        let unknown = || broken("W13.4", format!("channel {channel} was never opened"));
        self.channels.get_mut(&channel).ok_or_else(unknown)
    }

    /// All debts of the endpoint under test.
    pub fn debts(&self) -> u64 {
        let one = |channel: &Channel| match (channel.fin, channel.reset) {
            (Some(debt), _) | (_, Some((_, debt))) => debt,
            _ => channel.debt(),
        };
        self.channels.values().map(one).sum::<u64>() - self.paid
    }

    /// What the kit owes by the ends that it said.
    pub fn owed(&self) -> u64 {
        self.channels.values().filter_map(|of| of.owes).sum()
    }

    /// By how much a RETURN rises at least, with these settings of its sender.
    pub fn least_return(of: Settings) -> u64 {
        u64::from(of.window.div_ceil(2))
            .min(of.budget.div_ceil(4))
            .max(1)
    }

    pub(crate) fn heard(&mut self, frame: &Frame) -> Result<(), Broken> {
        if self.goaway.is_some() {
            return Err(broken("W17.1", format!("{frame:?} behind a GOAWAY")));
        }
        match (self.magic, self.settings) {
            (None, _) => return self.hello(frame),
            (_, None) => return self.their_settings(frame),
            _ => {}
        }
        match *frame {
            Frame::Hello(_) | Frame::HelloReply(_) => Err(broken("W2.1", "a second hello")),
            Frame::Settings(_) => Err(broken("W3.1", "second settings")),
            Frame::Open(channel) => self.opened(channel),
            Frame::Data(channel, ref body) => self.data(channel, body),
            Frame::Window(channel, limit, _) => self.window(channel, limit),
            Frame::Fin(channel, debt) => self.ended(channel, debt, None),
            Frame::Reset(channel, code, debt) => self.ended(channel, debt, Some(code)),
            Frame::Stop(channel, code) => self.stopped(channel, code),
            Frame::Ping(token) if self.pings.contains(&token) => {
                Err(broken("W9.1", format!("PING {token} twice")))
            }
            Frame::Ping(token) => {
                self.pings.push(token);
                Ok(())
            }
            Frame::Pong(token) => {
                // Of several that wait, the last may be answered alone.
                if !self.waiting.contains(&token) {
                    return Err(broken("W18.4", format!("PONG {token} answers no PING")));
                }
                self.waiting.retain(|waiting| *waiting > token);
                self.pongs.push(token);
                Ok(())
            }
            Frame::MaxChannels(count) => self.counted(count),
            Frame::Drain => {
                self.drains += 1;
                match self.drains {
                    1 => Ok(()),
                    _ => Err(broken("W18.4", "a second DRAIN")),
                }
            }
            Frame::GoAway(last, code, ref text) => self.went(last, code, text),
            Frame::Return(total) => self.paid_back(total),
            Frame::Close(_) => Err(broken("W8.1", "CLOSE in version 1")),
            Frame::Skipped(op) => Err(broken("W20.2", format!("op {op:#04x}"))),
        }
    }

    fn hello(&mut self, frame: &Frame) -> Result<(), Broken> {
        match (self.role, frame) {
            (Role::Client, Frame::Hello(magic)) | (Role::Server, Frame::HelloReply(magic)) => {
                self.magic = Some(*magic);
                Ok(())
            }
            _ => Err(broken("W2.1", format!("{frame:?} as the first frame"))),
        }
    }

    fn their_settings(&mut self, frame: &Frame) -> Result<(), Broken> {
        let Frame::Settings(body) = frame else {
            return Err(broken("W3.1", format!("{frame:?} instead of the settings")));
        };
        let settings = Settings::decode(body, &|_| true)?;
        self.settings = Some(settings);
        self.count = settings.channels;
        for channel in self.channels.values_mut() {
            channel.limit = settings.window.into();
        }
        Ok(())
    }

    fn opened(&mut self, channel: u32) -> Result<(), Broken> {
        if channel != self.next || channel > i32::MAX as u32 {
            return Err(broken("W13.1", format!("OPEN {channel} out of order")));
        }
        let count = self
            .channels
            .keys()
            .filter(|id| self.is_theirs(**id))
            .count();
        if count as u32 >= self.allowed {
            return Err(broken("W13.2", format!("OPEN {channel} beyond the count")));
        }
        if self.drained {
            return Err(broken("W9.4", format!("OPEN {channel} behind the PONG")));
        }
        self.next += 2;
        self.open(channel);
        Ok(())
    }

    fn check_use(&mut self, channel: u32, what: &str) -> Result<&mut Channel, Broken> {
        let of = self.known(channel)?;
        if of.refused {
            return Err(broken(
                "W15.3",
                format!("{what} behind a refusal of {channel}"),
            ));
        }
        Ok(of)
    }

    fn data(&mut self, channel: u32, body: &[u8]) -> Result<(), Broken> {
        let of = self.check_use(channel, "DATA")?;
        if of.is_ended() {
            return Err(broken("W14.1", format!("DATA behind the end of {channel}")));
        }
        of.data.extend_from_slice(body);
        let (debts, budget) = (self.debts(), self.mine.budget);
        if debts > budget {
            let text = format!("DATA on {channel}: debts of {debts}, and a budget of {budget}");
            return Err(broken("W10.3", text));
        }
        Ok(())
    }

    fn ended(&mut self, channel: u32, debt: u64, code: Option<u32>) -> Result<(), Broken> {
        let of = match code {
            None => self.check_use(channel, "FIN")?,
            Some(_) => self.known(channel)?,
        };
        if of.is_ended() {
            return Err(broken("W14.1", format!("a second end of {channel}")));
        }
        if debt < of.debt() || debt > of.data.len() as u64 {
            let (least, most) = (of.debt(), of.data.len());
            let text = format!("an end of {channel} owes {debt}: {least} to {most} is right");
            return Err(broken("W12.2", text));
        }
        match code {
            None => of.fin = Some(debt),
            Some(code) => of.reset = Some((code, debt)),
        }
        match self.debts() > self.mine.budget {
            true => Err(broken("W12.2", "an end that owes more than the budget")),
            false => Ok(()),
        }
    }

    fn stopped(&mut self, channel: u32, code: u32) -> Result<(), Broken> {
        let theirs = self.is_theirs(channel);
        let of = self.known(channel)?;
        if of.stop.is_some() {
            return Err(broken("W14.5", format!("a second STOP of {channel}")));
        }
        of.stop = Some(code);
        of.refused = code == REFUSED && !of.is_used() && !theirs;
        Ok(())
    }

    fn window(&mut self, channel: u32, limit: u64) -> Result<(), Broken> {
        let window = u64::from(self.theirs().window);
        let of = self.check_use(channel, "WINDOW")?;
        let (least, most) = (of.limit + window.div_ceil(2), of.sent + window);
        if !(least..=most).contains(&limit) {
            let text = format!("WINDOW {limit} of {channel}: {least} to {most} is right");
            return Err(broken("W11.1", text));
        }
        (of.limit, of.windows) = (limit, of.windows + 1);
        Ok(())
    }

    fn counted(&mut self, count: u32) -> Result<(), Broken> {
        let mine = self.channels.iter().filter(|(id, _)| !self.is_theirs(**id));
        let closed = mine.filter(|(_, of)| of.is_closed()).count();
        let most = self.theirs().channels.saturating_add(closed as u32);
        if count <= self.count {
            return Err(broken(
                "W16.4",
                format!("MAX_CHANNELS {count} does not rise"),
            ));
        }
        if count > most {
            return Err(broken(
                "W16.2",
                format!("MAX_CHANNELS {count} above {most}"),
            ));
        }
        self.count = count;
        Ok(())
    }

    fn paid_back(&mut self, total: u64) -> Result<(), Broken> {
        let least = self.returned + Seen::least_return(self.theirs());
        if total < least || total > self.owed() {
            let text = format!("RETURN {total}: {least} to {} is right", self.owed());
            return Err(broken("W12.4", text));
        }
        self.returned = total;
        Ok(())
    }

    fn went(&mut self, last: u32, code: u32, text: &str) -> Result<(), Broken> {
        let mine = || self.channels.iter().filter(|(id, _)| !self.is_theirs(**id));
        let used = mine()
            .filter(|(_, of)| of.is_used())
            .map(|(id, _)| *id)
            .max();
        if last < used.unwrap_or(0) {
            return Err(broken(
                "W17.5",
                format!("last is {last}, and {used:?} was used"),
            ));
        }
        let opened = mine().map(|(id, _)| *id).max().unwrap_or(0);
        if last > opened && last != i32::MAX as u32 {
            return Err(broken(
                "W17.4",
                format!("last is {last}, and {opened} was opened"),
            ));
        }
        self.goaway = Some((last, code, text.to_owned()));
        Ok(())
    }
}
