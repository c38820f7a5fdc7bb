//! Two cores of random configurations that do random work, in virtual time, and the
//! judge that sees all of it.
#![allow(dead_code)] // each test file uses a part

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tcpchan::proto::{ChannelError, Config, Connection, Event, Key, Read, Role};
use tcpchan::wire::Settings;

use super::rules::{Rules, Seen};

const HOUR: Duration = Duration::from_secs(3600);
const PERIOD: usize = 251;
const MOST: usize = 64 << 10;

/// A generator whose numbers follow from its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }

    pub fn once_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// What one side does with a channel.
struct End {
    key: Option<Key>,
    /// Bytes that it writes in all.
    goal: u64,
    written: u64,
    finished: bool,
    read: u64,
    /// It has read the clean end.
    whole: bool,
    /// It reads once all others are through, not before.
    late: bool,
    /// What it sends may not get there.
    broken: bool,
}

struct Channel {
    id: u32,
    ends: [End; 2],
}

pub struct World {
    dice: Dice,
    cores: [Connection; 2],
    /// What each side has sent and the other has not got.
    ways: [VecDeque<Vec<u8>>; 2],
    settings: [Settings; 2],
    rules: Rules,
    now: Instant,
    channels: Vec<Channel>,
    most_channels: usize,
    pattern: Vec<u8>,
    /// Bytes that a channel may have to carry.
    size: u64,
}

fn config(dice: &mut Dice) -> (Config, Settings) {
    let mut said = Settings::default();
    said.initial_window = dice.pick(&[65_536, 65_536, 65_537, 100_001, 1 << 20, i32::MAX as u32]);
    said.receive_budget = dice.pick(&[
        0,
        1,
        1_000,
        16_384,
        16_385,
        65_536,
        200_001,
        1 << 20,
        4 << 20,
        64 << 20,
        u64::MAX,
    ]);
    said.max_channels = 1024;
    let config = Config::default()
        .initial_window(said.initial_window)
        .and_then(|c| c.send_buffer(dice.pick(&[999, 4096, 65_536, 65_536, 1 << 20])))
        .and_then(|c| c.answer_within(HOUR, 2 * HOUR))
        .and_then(|c| c.ping_after(HOUR))
        .and_then(|c| c.write_stall(24 * HOUR))
        .and_then(|c| c.accept_backlog(dice.pick(&[2, 100])))
        .expect("a configuration")
        .receive_budget(said.receive_budget);
    (config, said)
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let now = Instant::now();
        let (client, of_client) = config(&mut dice);
        let (server, of_server) = config(&mut dice);
        let settings = [of_client, of_server];
        World {
            cores: [
                Connection::new(Role::Client, client, now),
                Connection::new(Role::Server, server, now),
            ],
            ways: Default::default(),
            settings,
            rules: Rules::new(settings),
            now,
            channels: Vec::new(),
            most_channels: 1 + dice.roll(24) as usize,
            pattern: (0..MOST + PERIOD).map(|i| (i % PERIOD) as u8).collect(),
            size: dice.pick(&[2_000, 200_000, 500_000, 1_000_000, 4_000_000]),
            dice,
        }
    }

    /// Random work; then all that was begun comes to its end.
    pub fn run(mut self) -> [Seen; 2] {
        for _ in 0..60 + self.dice.roll(340) {
            self.step();
        }
        self.settle();
        self.rules.seen()
    }

    fn step(&mut self) {
        let who = self.dice.roll(2) as usize;
        match self.dice.roll(100) {
            0..12 => self.open(who),
            12..34 => self.write_some(who),
            34..50 => self.read_some(who),
            50..66 => {
                let budget = self.dice.pick(&[1, 1_000, 65_536, 1 << 20]);
                self.transmit(who, budget);
            }
            66..86 => {
                self.deliver(who);
            }
            86..93 => {
                let time = self.dice.roll(60);
                self.pass(Duration::from_millis(time));
            }
            93..96 => self.accept(who),
            96 => {
                if let Some(at) = self.some(who) {
                    self.finish(who, at);
                }
            }
            _ => self.give_up(who),
        }
        self.look(who);
    }

    fn some(&mut self, who: usize) -> Option<usize> {
        if self.channels.is_empty() {
            return None;
        }
        let at = self.dice.roll(self.channels.len() as u64) as usize;
        self.channels[at].ends[who].key.map(|_| at)
    }

    fn end(&mut self) -> End {
        End {
            key: None,
            goal: match self.dice.roll(6) {
                0 => 0,
                1 => self.dice.roll(200),
                2 if self.dice.once_in(12) => 5 << 20,
                _ => self.dice.roll(self.size),
            },
            written: 0,
            finished: false,
            read: 0,
            whole: false,
            late: self.dice.once_in(5),
            broken: false,
        }
    }

    fn open(&mut self, who: usize) {
        if self.channels.len() >= self.most_channels {
            return;
        }
        let Ok(key) = self.cores[who].open() else {
            return;
        };
        let id = self.cores[who].id(key).expect("a number");
        let mut ends = [self.end(), self.end()];
        ends[who].key = Some(key);
        self.channels.push(Channel { id, ends });
        self.rules.takes(who, id);
    }

    fn accept(&mut self, who: usize) {
        while let Some(key) = self.cores[who].accept() {
            let id = self.cores[who].id(key).expect("a number");
            let channel = self.channels.iter_mut().find(|channel| channel.id == id);
            channel.expect("it was opened").ends[who].key = Some(key);
            self.rules.takes(who, id);
        }
    }

    fn write_some(&mut self, who: usize) {
        if let Some(at) = self.some(who) {
            let most = match self.dice.roll(3) {
                0 => self.dice.roll(3_000) as usize,
                _ => MOST,
            };
            self.write(who, at, most);
        }
    }

    /// Whether it took any.
    fn write(&mut self, who: usize, at: usize, most: usize) -> bool {
        let channel = &mut self.channels[at];
        let end = &mut channel.ends[who];
        let left = (end.goal - end.written).min(most as u64) as usize;
        let Some(key) = end.key.filter(|_| left > 0 && !end.finished && !end.broken) else {
            return false;
        };
        let from = (end.written as usize + channel.id as usize) % PERIOD;
        let bytes = &self.pattern[from..from + left];
        let Ok(n) = self.cores[who].write(key, bytes) else {
            end.broken = true; // the peer has stopped it
            return false;
        };
        end.written += n as u64;
        self.rules.writes(who, channel.id, n);
        n > 0
    }

    fn finish(&mut self, who: usize, at: usize) {
        let end = &mut self.channels[at].ends[who];
        if let Some(key) = end.key
            && !end.finished
            && !end.broken
        {
            match self.cores[who].finish(key) {
                Ok(()) => (end.finished, end.goal) = (true, end.written),
                Err(_) => end.broken = true,
            }
        }
    }

    fn read_some(&mut self, who: usize) {
        if let Some(at) = self.some(who)
            && !self.channels[at].ends[who].late
        {
            let most = match self.dice.roll(3) {
                0 => self.dice.roll(3_000) as usize + 1,
                1 => MOST,
                _ => 40 << 20,
            };
            self.read(who, at, most);
        }
    }

    /// Whether there was any.
    fn read(&mut self, who: usize, at: usize, most: usize) -> bool {
        let channel = &mut self.channels[at];
        let (id, before) = (channel.id, channel.ends[who].read);
        let Some(key) = channel.ends[who].key else {
            return false;
        };
        let mut got = before as usize;
        while got < before as usize + most {
            let left = before as usize + most - got;
            let (pattern, start) = (&self.pattern, got);
            let read = self.cores[who].read_with(key, left, |bytes| {
                for piece in bytes.chunks(MOST) {
                    let from = (got + id as usize) % PERIOD;
                    assert!(piece == &pattern[from..from + piece.len()], "other bytes");
                    got += piece.len();
                }
            });
            match read {
                Ok(Read::Bytes(n)) => assert_eq!(n, got - start),
                Ok(Read::Blocked) => break,
                Ok(Read::Finished) => {
                    channel.ends[who].whole = true;
                    break;
                }
                Err(ChannelError::Refused(None)) => {
                    (channel.ends[0].broken, channel.ends[1].broken) = (true, true);
                    break;
                }
                Err(_) => {
                    assert!(channel.ends[1 - who].broken, "an end that nobody made");
                    break;
                }
            }
        }
        let n = got - before as usize;
        channel.ends[who].read += n as u64;
        self.rules.reads(who, id, n);
        n > 0
    }

    fn give_up(&mut self, who: usize) {
        let Some(at) = self.some(who) else { return };
        let channel = &mut self.channels[at];
        let (id, [a, b]) = (channel.id, &mut channel.ends);
        let (mine, theirs) = if who == 0 { (a, b) } else { (b, a) };
        let key = mine.key.expect("a key");
        let (sends, reads) = match self.dice.roll(5) {
            0 => {
                self.cores[who].reset(key, 5);
                (true, false)
            }
            1 => {
                self.cores[who].reset_after_flush(key, 5);
                (true, false)
            }
            2 | 3 => {
                self.cores[who].stop(key, 5);
                (false, true)
            }
            _ => {
                self.cores[who].release(key);
                mine.key = None;
                (true, true)
            }
        };
        if sends {
            mine.broken = true;
            self.rules.gives_up(who, id);
        }
        if reads {
            theirs.broken = true;
            self.rules.drops(who, id);
        }
    }

    /// Whether it said anything.
    fn transmit(&mut self, who: usize, budget: usize) -> bool {
        let mut out = Vec::new();
        if self.cores[who].poll_transmit(&mut out, budget, self.now) > 0 {
            self.rules.says(who, &out);
            self.ways[who].push_back(out);
            return true;
        }
        let timer = self.cores[who].poll_timeout();
        self.rules.is_silent(who, self.now, timer);
        false
    }

    /// Hands over something of what a side has sent; whether there was any.
    fn deliver(&mut self, from: usize) -> bool {
        let Some(mut bytes) = self.ways[from].pop_front() else {
            return false;
        };
        if self.dice.once_in(3) {
            let at = self.dice.roll(bytes.len() as u64) as usize;
            let rest = bytes.split_off(at);
            self.ways[from].push_front(rest);
        }
        let to = 1 - from;
        self.rules.hears(to, &bytes);
        match self.dice.once_in(2) {
            true => self.cores[to].handle_input(&bytes, self.now),
            false => self.cores[to].handle_block(&bytes.into(), self.now),
        }
        self.look(to);
        true
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let timers = self.cores.iter().filter_map(Connection::poll_timeout);
            let Some(at) = timers.min().filter(|at| *at <= until && *at > self.now) else {
                break;
            };
            self.tick(at);
        }
        self.tick(until);
    }

    fn tick(&mut self, at: Instant) {
        self.now = at;
        for core in &mut self.cores {
            core.handle_timeout(at);
        }
    }

    fn look(&mut self, who: usize) {
        let core = &mut self.cores[who];
        assert_eq!(core.error(), None);
        while let Some(event) = core.poll_event() {
            assert_ne!(event, Event::Closed);
        }
        let stats = core.stats();
        assert_eq!(stats.no_op_frames, 0, "frames that change nothing");
        if let Some(left) = self.rules.budget_left(who) {
            // What was read is free, though the peer was not told yet.
            let most = self.rules.budget_left_at_most(who).max(left);
            let found = stats.budget_left;
            assert!((left..=most).contains(&found), "{left} to {most}: {found}");
        }
    }

    /// Everyone writes and reads all, but those who read late: they wait for the
    /// others.
    fn settle(&mut self) {
        self.all_across(false);
        self.all_across(true);
        for who in 0..2 {
            // What channels that rest hold of the budget is nothing, and what those
            // that ended hold is less than a RETURN may give.
            let (said, rest) = (self.settings[who], self.rules.unreturned(who));
            let left = self.cores[who].stats().budget_left;
            assert_eq!(left, said.receive_budget);
            let small = 2 * rest < said.initial_window.into()
                && u128::from(rest) * 4 < u128::from(said.receive_budget.max(1));
            assert!(small, "{rest} is not given back");
        }
        for at in 0..self.channels.len() {
            for who in 0..2 {
                if let Some(key) = self.channels[at].ends[who].key.take() {
                    self.rules.gives_up(who, self.channels[at].id);
                    self.rules.drops(who, self.channels[at].id);
                    self.cores[who].release(key);
                }
            }
        }
        self.until_still(false);
        let left = self.cores.each_ref().map(Connection::channels);
        assert_eq!(left, [0, 0], "channels that are not over");
    }

    fn all_across(&mut self, late: bool) {
        self.until_still(late);
        for channel in &self.channels {
            for who in 0..2 {
                let (from, to) = (&channel.ends[1 - who], &channel.ends[who]);
                if from.broken || from.key.is_none() || to.key.is_none() || to.late && !late {
                    continue;
                }
                assert!(
                    to.whole && to.read == from.goal,
                    "{}: {} of {} bytes came, {} were taken",
                    channel.id,
                    to.read,
                    from.goal,
                    from.written
                );
            }
        }
    }

    /// Does all that can be done until nothing happens for 300 ms.
    fn until_still(&mut self, late: bool) {
        let mut still = 0;
        while still < 6 {
            match self.moves(late) {
                true => still = 0,
                false => {
                    still += 1;
                    self.pass(Duration::from_millis(50));
                }
            }
        }
    }

    fn moves(&mut self, late: bool) -> bool {
        let mut any = false;
        for who in 0..2 {
            self.accept(who);
            for at in 0..self.channels.len() {
                any |= self.write(who, at, MOST);
                let end = &self.channels[at].ends[who];
                if end.written == end.goal && !end.finished {
                    self.finish(who, at);
                }
                if late || !self.channels[at].ends[who].late {
                    any |= self.read(who, at, 40 << 20);
                }
            }
            while self.transmit(who, 1 << 20) {
                any = true;
            }
            while self.deliver(who) {
                any = true;
            }
            self.look(who);
        }
        any
    }
}
