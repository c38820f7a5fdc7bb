//! A peer that keeps to the rules of credit and to nothing more: it borrows all that
//! there is, pays as little or as much as it may, early or late, and ends channels
//! where it likes. The core must never object, and must get everything across.
#![allow(dead_code)] // each test file uses a part

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tcpchan::proto::{Config, Connection, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, Protocol, Settings, Version};

use super::world::Dice;

const HOUR: Duration = Duration::from_secs(3600);

/// A channel as the peer sees it, and what the core's application does.
#[derive(Default)]
struct Channel {
    // What the peer sends.
    goal: u64,
    sent: u64,
    limit: u64,
    ended: bool,
    /// All of it leaves, with a FIN behind it.
    whole: bool,
    /// The core asked it to stop.
    stop: bool,
    // What the peer gets.
    got: u64,
    said: u64,
    got_end: bool,
    got_fin: bool,
    stopped: bool,
    // The core's application.
    key: Option<Key>,
    core_goal: u64,
    written: u64,
    finished: bool,
    read: u64,
    read_end: bool,
    gave_up: bool,
}

pub struct Peer {
    dice: Dice,
    core: Connection,
    now: Instant,
    decoder: Decoder,
    /// What the core said and the peer has not heard, and what the peer said.
    down: VecDeque<Vec<u8>>,
    up: VecDeque<Vec<u8>>,
    /// Of the core.
    window: u64,
    budget: u64,
    /// Of the peer.
    my_window: u64,
    my_budget: u64,
    owes: u64,
    paid: u64,
    is_owed: u64,
    returned: u64,
    channels: BTreeMap<u32, Channel>,
    next: u32,
    size: u64,
}

impl Peer {
    pub fn new(seed: u64) -> Peer {
        let mut dice = Dice::new(seed ^ 0xABCD_EF01);
        let windows = [65_536, 65_536, 65_537, 100_001, i32::MAX as u32];
        let budgets = [0, 1, 3, 1_000, 30_000, 300_001, 4 << 20, u64::MAX];
        let mut mine = Settings::default();
        mine.initial_window = dice.pick(&windows);
        mine.receive_budget = dice.pick(&budgets);
        let (window, budget) = (dice.pick(&windows), dice.pick(&budgets));
        let config = Config::default()
            .initial_window(window)
            .and_then(|c| c.answer_within(HOUR, 2 * HOUR))
            .and_then(|c| c.ping_after(HOUR))
            .and_then(|c| c.write_stall(24 * HOUR))
            .expect("a configuration")
            .receive_budget(budget);
        let now = Instant::now();
        let mut peer = Peer {
            core: Connection::new(Role::Server, config, now),
            now,
            decoder: Decoder::new(Protocol::V1),
            down: VecDeque::new(),
            up: VecDeque::new(),
            window: window.into(),
            budget,
            my_window: mine.initial_window.into(),
            my_budget: mine.receive_budget,
            owes: 0,
            paid: 0,
            is_owed: 0,
            returned: 0,
            channels: BTreeMap::new(),
            next: 1,
            size: dice.pick(&[2_000, 200_000, 700_000]),
            dice,
        };
        let magic = DEFAULT_MAGIC;
        peer.say(Control::Hello { magic });
        let body = mine.encode();
        peer.say(Control::Settings { body });
        // It knows the core's settings before it sends more.
        peer.all_arrives();
        peer
    }

    pub fn run(mut self) {
        for _ in 0..50 + self.dice.roll(250) {
            self.step();
            self.look();
        }
        let mut still = 0;
        while still < 5 {
            self.now += Duration::from_millis(50);
            self.core.handle_timeout(self.now);
            still = if self.does_all() { 0 } else { still + 1 };
        }
        for (id, channel) in &self.channels {
            if channel.whole && !channel.stop {
                let all = channel.read_end && channel.read == channel.goal;
                assert!(all, "{id}: {} of {}", channel.read, channel.goal);
            }
            if !channel.stopped && !channel.gave_up {
                let all = channel.got_fin && channel.got == channel.core_goal;
                assert!(all, "{id}: {} of {}", channel.got, channel.core_goal);
            }
        }
        assert_eq!(self.core.stats().budget_left, self.budget);
    }

    fn say(&mut self, control: Control) {
        let mut bytes = Vec::new();
        Frame::Control(control).encode(Version::V1, &mut bytes);
        self.up.push_back(bytes);
    }

    fn step(&mut self) {
        let id = match self.next {
            1 => 0,
            next => 1 + 2 * self.dice.roll(u64::from(next / 2)) as u32,
        };
        match self.dice.roll(100) {
            0..10 => self.open(),
            _ if id == 0 => {}
            10..30 => self.send(id, true),
            30..45 => self.give(id, true),
            45..48 => self.give_back(true),
            48..50 => self.end(id, false),
            50..51 => self.stop(id),
            51..61 => {
                self.deliver();
            }
            61..71 => {
                self.hear();
            }
            71..75 => {
                self.now += Duration::from_millis(self.dice.roll(50));
                self.core.handle_timeout(self.now);
            }
            75..83 => self.use_core(id, true),
            83..90 => self.use_core(id, false),
            90..92 => self.core_gives_up(id),
            _ => {
                self.transmit();
            }
        }
    }

    fn open(&mut self) {
        if self.next > 15 {
            return;
        }
        let channel = Channel {
            goal: self.dice.roll(self.size),
            core_goal: self.dice.roll(self.size),
            limit: self.window,
            said: self.my_window,
            ..Channel::default()
        };
        self.channels.insert(self.next, channel);
        self.say(Control::Open { channel: self.next });
        self.next += 2;
    }

    fn debts(&self) -> u64 {
        let live = self.channels.values().filter(|channel| !channel.ended);
        let one = |channel: &Channel| channel.sent.saturating_sub(channel.limit);
        live.map(one).sum::<u64>() + self.owes - self.paid
    }

    /// Sends what it may; perhaps less.
    fn send(&mut self, id: u32, perhaps: bool) {
        let left = self.budget - self.debts();
        let channel = self.channels.get_mut(&id).expect("a channel");
        if channel.ended {
            return;
        }
        let room = channel
            .limit
            .saturating_sub(channel.sent)
            .saturating_add(left);
        let mut n = room.min(channel.goal - channel.sent);
        if perhaps && n > 0 && self.dice.once_in(2) {
            n = self.dice.roll(n);
        }
        channel.sent += n;
        let mut bytes = Vec::new();
        while n > 0 {
            let most = match self.dice.once_in(8) {
                true => 1 + self.dice.roll(16 << 10),
                false => 16 << 10,
            };
            let body = vec![7; n.min(most) as usize];
            n -= body.len() as u64;
            Frame::Data {
                channel: id,
                body: &body,
            }
            .encode(Version::V1, &mut bytes);
        }
        if !bytes.is_empty() {
            self.up.push_back(bytes);
        }
    }

    /// Ends what it sends: with a FIN if all was sent.
    fn end(&mut self, id: u32, clean: bool) {
        let channel = self.channels.get_mut(&id).expect("a channel");
        if channel.ended {
            return;
        }
        channel.ended = true;
        let debt = channel.sent.saturating_sub(channel.limit);
        self.owes += debt;
        let end = match clean {
            true => Control::Fin { channel: id, debt },
            false => Control::Reset {
                channel: id,
                code: 7,
                debt,
            },
        };
        channel.whole = clean;
        self.say(end);
    }

    /// Says a WINDOW if it may: the largest, or any.
    fn give(&mut self, id: u32, any: bool) {
        let half = self.my_window.div_ceil(2);
        let channel = self.channels.get_mut(&id).expect("a channel");
        let most = channel.got + self.my_window;
        if channel.got_end || most < channel.said + half {
            return;
        }
        let rise = match any && self.dice.once_in(2) {
            true => half + self.dice.roll(most - channel.said - half + 1),
            false => most - channel.said,
        };
        channel.said += rise;
        let limit = channel.said;
        self.say(Control::Window {
            channel: id,
            limit,
            loan: 2 << 20,
        });
    }

    fn give_back(&mut self, any: bool) {
        let least = self.my_window.div_ceil(2).min(self.my_budget.div_ceil(4));
        let most = self.is_owed - self.returned;
        if most < least.max(1) {
            return;
        }
        self.returned += match any && self.dice.once_in(2) {
            true => least.max(1) + self.dice.roll(most - least.max(1) + 1),
            false => most,
        };
        let total = self.returned;
        self.say(Control::Return { total });
    }

    fn stop(&mut self, id: u32) {
        let channel = self.channels.get_mut(&id).expect("a channel");
        if !channel.stopped && !channel.got_end {
            channel.stopped = true;
            self.say(Control::Stop {
                channel: id,
                code: 3,
            });
        }
    }

    /// The core gets something of what the peer said.
    fn deliver(&mut self) -> bool {
        let Some(mut bytes) = self.up.pop_front() else {
            return false;
        };
        if self.dice.once_in(3) {
            let at = self.dice.roll(bytes.len() as u64) as usize;
            self.up.push_front(bytes.split_off(at));
        }
        self.core.handle_input(&bytes, self.now);
        true
    }

    fn transmit(&mut self) -> bool {
        let mut out = Vec::new();
        let any = self.core.poll_transmit(&mut out, 30_000, self.now) > 0;
        if any {
            self.down.push_back(out);
        }
        any
    }

    /// The peer hears something of what the core said.
    fn hear(&mut self) -> bool {
        let Some(bytes) = self.down.pop_front() else {
            return false;
        };
        let mut input = &bytes[..];
        while let Some(decoded) = self.decoder.decode(&mut input).expect("frames") {
            match decoded {
                Decoded::Data { channel, len } => {
                    self.channel(channel).got += len as u64;
                }
                Decoded::Control(control) => self.hears(control),
                _ => {}
            }
        }
        true
    }

    fn channel(&mut self, id: u32) -> &mut Channel {
        self.channels.get_mut(&id).expect("a channel")
    }

    fn hears(&mut self, control: Control) {
        match control {
            Control::Window { channel, limit, .. } => self.channel(channel).limit = limit,
            Control::Return { total } => self.paid = total,
            Control::Fin { channel, debt } => {
                self.is_owed += debt;
                let channel = self.channel(channel);
                (channel.got_end, channel.got_fin) = (true, true);
            }
            Control::Reset { channel, debt, .. } => {
                self.is_owed += debt;
                self.channel(channel).got_end = true;
            }
            Control::Stop { channel, .. } => {
                self.channel(channel).stop = true;
                self.end(channel, false);
            }
            Control::Ping { token } => self.say(Control::Pong { token }),
            Control::GoAway { code, text, .. } => panic!("GOAWAY {code}: {text}"),
            _ => {}
        }
    }

    fn use_core(&mut self, id: u32, writes: bool) {
        while let Some(key) = self.core.accept() {
            let id = self.core.id(key).expect("a number");
            self.channel(id).key = Some(key);
        }
        let channel = self.channels.get_mut(&id).expect("a channel");
        let Some(key) = channel.key else { return };
        if !writes {
            let most = 1 + self.dice.roll(300_000) as usize;
            match self.core.read_with(key, most, |_| {}) {
                Ok(Read::Bytes(n)) => channel.read += n as u64,
                Ok(Read::Finished) => channel.read_end = true,
                _ => {}
            }
        } else if !channel.finished && !channel.gave_up {
            let left = (channel.core_goal - channel.written).min(200_000) as usize;
            match self.core.write(key, &vec![7; left]) {
                Ok(n) => channel.written += n as u64,
                Err(_) => channel.gave_up = true,
            }
            if channel.written == channel.core_goal && !channel.gave_up {
                channel.finished = self.core.finish(key).is_ok();
            }
        }
    }

    fn core_gives_up(&mut self, id: u32) {
        let channel = self.channels.get_mut(&id).expect("a channel");
        let Some(key) = channel.key else { return };
        match self.dice.roll(3) {
            0 => {
                channel.gave_up = true;
                self.core.reset(key, 4);
            }
            1 => {
                channel.stop = true;
                self.core.stop(key, 4);
            }
            _ => {
                (channel.gave_up, channel.stop, channel.key) = (true, true, None);
                self.core.release(key);
            }
        }
    }

    fn all_arrives(&mut self) -> bool {
        let mut any = false;
        while self.transmit() || self.hear() || self.deliver() {
            any = true;
        }
        self.look();
        any
    }

    /// Whether anything happened.
    fn does_all(&mut self) -> bool {
        let before = self.core.stats();
        for id in (1..self.next).step_by(2) {
            for _ in 0..4 {
                self.use_core(id, true);
                self.use_core(id, false);
            }
            self.send(id, false);
            let channel = self.channel(id);
            if channel.sent == channel.goal {
                self.end(id, true);
            }
            self.give(id, false);
        }
        self.give_back(false);
        let any = self.all_arrives();
        let after = self.core.stats();
        any || (before.bytes_sent, before.buffered) != (after.bytes_sent, after.buffered)
    }

    fn look(&mut self) {
        assert_eq!(self.core.error(), None);
        assert_eq!(self.core.stats().no_op_frames, 0);
        while self.core.poll_event().is_some() {}
    }
}
