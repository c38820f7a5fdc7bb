//! A server core, fed operations of its application and frames of its peer,
//! against a model of each channel: which frame is a violation, how many bytes
//! wait, what is read and sent and in which order, and how each half ends.
#![no_main]

mod bytes;
mod sending;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tcpchan::Config;
use tcpchan::proto::{ChannelError, Connection, ConnectionError, Event, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, Protocol, Settings, Version};

use self::bytes::pattern;
use self::sending::Sending;

#[derive(Arbitrary, Debug)]
enum Step {
    /// The peer opens the next channel, or one that it may not.
    Open {
        skips: bool,
    },
    Data {
        channel: u8,
        len: u16,
    },
    Fin {
        channel: u8,
    },
    Reset {
        channel: u8,
        code: u32,
    },
    PeerStops {
        channel: u8,
        code: u32,
    },
    Window {
        channel: u8,
        limit: u32,
    },
    Accept,
    Read {
        channel: u8,
        most: u16,
    },
    Write {
        channel: u8,
        len: u16,
        through: bool,
    },
    Finish {
        channel: u8,
    },
    GiveUp {
        channel: u8,
    },
    Stop {
        channel: u8,
    },
    Release {
        channel: u8,
    },
    Transmit {
        budget: u16,
    },
    Wait {
        ms: u8,
    },
}

const WINDOW: u64 = 64 << 10;
const SEND_BUFFER: u64 = 20_000;

#[derive(Default)]
struct Channel {
    key: Option<Key>,
    received: u64,
    waiting: u64,
    /// The credit that the core has given, and that it has told.
    limit: u64,
    told: u64,
    end: Option<End>,
    /// The reader waits for an event.
    asleep: bool,
    stopped: bool,
    released: bool,
    sending: Sending,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Fin,
    Reset(u32),
}

struct Model {
    core: Connection,
    now: Instant,
    channels: Vec<Channel>,
    waiting: VecDeque<usize>,
    last_accepted: u32,
    /// Reads what the core sends.
    decoder: Decoder,
    /// The channel whose DATA is being read.
    reading: usize,
    go_away: Option<(u32, String)>,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let mut model = Model::new();
    while !input.is_empty() && model.core.error().is_none() {
        let Ok(step) = Step::arbitrary(&mut input) else {
            break;
        };
        model.take(step);
        model.hear_events();
    }
    model.end();
});

impl Model {
    fn new() -> Model {
        let now = Instant::now();
        // The budget is 0, so that windows keep their size.
        let config = Config::default().receive_budget(0);
        let config = config.send_buffer(SEND_BUFFER as usize).expect("in range");
        let mut model = Model {
            core: Connection::new(Role::Server, config, now),
            now,
            channels: Vec::new(),
            waiting: VecDeque::new(),
            last_accepted: 0,
            decoder: Decoder::new(Protocol::V1),
            reading: 0,
            go_away: None,
        };
        let magic = DEFAULT_MAGIC;
        let body = Settings::default().encode();
        model.say(Control::Hello { magic });
        model.say(Control::Settings { body });
        model
    }

    fn say(&mut self, control: Control) {
        let mut bytes = Vec::new();
        Frame::Control(control).encode(Version::V1, &mut bytes);
        self.core.handle_input(&bytes, self.now);
    }

    /// Whether the last frame was a violation must be as the model says.
    fn check(&self, violates: bool) {
        match self.core.error() {
            None => assert!(!violates, "a violation was missed"),
            Some(ConnectionError::Violation { .. }) => assert!(violates, "{:?}", self.core.error()),
            Some(error) => panic!("{error}"),
        }
    }

    /// The channel that a number stands for, a few beyond those there are.
    fn pick(&self, channel: u8) -> (usize, u32) {
        let index = usize::from(channel) % (self.channels.len() + 2);
        (index, index as u32 * 2 + 1)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open { skips } => self.open(skips),
            Step::Data { channel, len } => self.data(channel, len),
            Step::Fin { channel } => {
                let (index, channel) = self.pick(channel);
                self.say(Control::Fin { channel, debt: 0 });
                self.end_of(index, End::Fin);
            }
            Step::Reset { channel, code } => {
                let (index, channel) = self.pick(channel);
                self.say(Control::Reset { channel, code, debt: 0 });
                self.end_of(index, End::Reset(code));
            }
            Step::PeerStops { channel, code } => {
                let (index, channel) = self.pick(channel);
                self.say(Control::Stop { channel, code });
                self.check(index >= self.channels.len());
                if let Some(state) = self.channels.get_mut(index) {
                    state.sending.peer_stops(code);
                }
            }
            Step::Window { channel, limit } => {
                let (index, channel) = self.pick(channel);
                let limit = limit.into();
                self.say(Control::Window { channel, limit });
                self.check(index >= self.channels.len());
                if let Some(state) = self.channels.get_mut(index) {
                    state.sending.window(limit);
                }
            }
            Step::Accept => self.accept(),
            Step::Read { channel, most } => self.held(channel, |model, i, key| {
                model.read(i, key, most.into());
            }),
            Step::Write {
                channel,
                len,
                through,
            } => self.held(channel, |model, i, key| {
                model.write(i, key, usize::from(len), through);
            }),
            Step::Finish { channel } => self.held(channel, |model, i, key| {
                let result = model.core.finish(key);
                model.channels[i].sending.finish(result);
            }),
            Step::GiveUp { channel } => self.held(channel, |model, i, key| {
                model.core.reset(key, 1);
                model.channels[i].sending.give_up(1);
            }),
            Step::Stop { channel } => self.held(channel, |model, i, key| {
                model.core.stop(key, 1);
                model.channels[i].stop();
            }),
            Step::Release { channel } => self.held(channel, |model, i, key| {
                model.core.release(key);
                model.channels[i].release();
                assert_eq!(model.core.write(key, b"x"), Err(ChannelError::Unknown));
            }),
            Step::Transmit { budget } => self.transmit(budget.into()),
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms.into());
                self.core.handle_timeout(self.now);
            }
        }
        let waiting: u64 = self.channels.iter().map(|channel| channel.waiting).sum();
        if self.core.error().is_none() {
            assert_eq!(self.core.stats().buffered, waiting);
        }
    }

    fn open(&mut self, skips: bool) {
        let index = self.channels.len() + usize::from(skips);
        let channel = index as u32 * 2 + 1;
        self.say(Control::Open { channel });
        if self.channels.len() < 1024 {
            self.check(skips);
        }
        if self.core.error().is_none() {
            self.waiting.push_back(index);
            self.channels.push(Channel {
                limit: WINDOW,
                told: WINDOW,
                sending: Sending::new(WINDOW, channel),
                ..Channel::default()
            });
        }
    }

    fn data(&mut self, channel: u8, len: u16) {
        let (index, channel) = self.pick(channel);
        let len = usize::from(len) % (16 << 10) + 1;
        let from = self.channels.get(index).map_or(0, |state| state.received);
        let mut bytes = Vec::with_capacity(8 + len);
        let body = pattern(channel, from, len);
        Frame::Data { channel, body }.encode(Version::V1, &mut bytes);
        match len % 2 {
            0 => self.core.handle_input(&bytes, self.now),
            _ => self.core.handle_block(&bytes.into(), self.now),
        }
        let Some(state) = self.channels.get_mut(index) else {
            return self.check(true);
        };
        let over = state.released && state.end.is_some();
        let fits = state.received + len as u64 <= state.limit && state.end.is_none();
        if fits {
            state.received += len as u64;
            if !state.stopped && !state.released {
                state.waiting += len as u64;
            }
        }
        // One that is over may be forgotten already.
        if !over {
            self.check(!fits);
        }
    }

    fn end_of(&mut self, index: usize, end: End) {
        let Some(state) = self.channels.get_mut(index) else {
            return self.check(true);
        };
        let (second, over) = (state.end.is_some(), state.released && state.end.is_some());
        if !second {
            state.end = Some(end);
            if matches!(end, End::Reset(_)) && state.key.is_none() {
                state.waiting = 0;
            }
        }
        if !over {
            self.check(second);
        }
    }

    fn accept(&mut self) {
        let key = self.core.accept();
        let index = self.waiting.pop_front();
        assert_eq!(key.is_some(), index.is_some());
        if let (Some(key), Some(index)) = (key, index) {
            self.last_accepted = index as u32 * 2 + 1;
            assert_eq!(self.core.id(key), Some(self.last_accepted));
            self.channels[index].key = Some(key);
        }
    }

    fn held(&mut self, channel: u8, act: impl FnOnce(&mut Model, usize, Key)) {
        let (index, _) = self.pick(channel);
        if let Some(state) = self.channels.get(index)
            && let Some(key) = state.key.filter(|_| !state.released)
        {
            act(self, index, key);
        }
    }

    fn read(&mut self, index: usize, key: Key, most: usize) {
        let mut buf = vec![0; most];
        let read = self.core.read(key, &mut buf);
        let state = &mut self.channels[index];
        match read {
            Ok(Read::Bytes(n)) => {
                assert_eq!(n as u64, state.waiting.min(most as u64));
                let from = state.received - state.waiting;
                assert!(n > 0 && buf[..n] == *pattern(index as u32 * 2 + 1, from, n));
                state.waiting -= n as u64;
                let consumed = from + n as u64;
                if state.limit - consumed <= WINDOW / 2 {
                    state.limit = consumed + WINDOW;
                }
            }
            Ok(Read::Blocked) => {
                assert!(state.is_quiet() || most == 0);
                state.asleep = most > 0;
            }
            Ok(Read::Finished) => {
                assert!(state.waiting == 0 && state.end == Some(End::Fin) && !state.stopped);
            }
            Err(ChannelError::Reset(code)) => {
                assert!(state.waiting == 0 && state.end == Some(End::Reset(code)));
            }
            Err(ChannelError::Ended) => assert!(state.stopped),
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&mut self, index: usize, key: Key, len: usize, through: bool) {
        let from = self.channels[index].sending.written();
        let bytes = pattern(index as u32 * 2 + 1, from, len);
        let mut out = Vec::new();
        let result = match through {
            true => {
                let result = self.core.write_through(key, bytes, &mut out, 64 << 10);
                let accepted = *result.as_ref().unwrap_or(&0);
                self.channels[index].sending.takes(accepted as u64);
                self.hear(&out);
                result.map(|n| (n, n))
            }
            false => {
                let room = SEND_BUFFER.saturating_sub(self.channels[index].sending.unsent());
                let result = self.core.write(key, bytes);
                let accepted = *result.as_ref().unwrap_or(&0);
                self.channels[index].sending.takes(accepted as u64);
                result.map(|n| (n, len.min(room as usize)))
            }
        };
        let sending = &self.channels[index].sending;
        match result {
            Ok((n, expected)) => {
                assert!(sending.is_open());
                assert_eq!(n, expected);
                assert!(n == len || sending.unsent() >= SEND_BUFFER);
            }
            Err(error) => sending.explain(&error),
        }
    }

    fn transmit(&mut self, budget: usize) {
        let mut out = Vec::new();
        let wanted = self.core.wants_transmit();
        let n = self.core.poll_transmit(&mut out, budget, self.now);
        assert!(n == out.len() && (wanted || n == 0));
        self.hear(&out);
    }

    /// What the core sends must be what the model allows.
    fn hear(&mut self, mut bytes: &[u8]) {
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Protocol::V1));
        while let Some(decoded) = decoder.decode(&mut bytes).expect("good frames") {
            assert!(self.go_away.is_none(), "a frame after GOAWAY");
            match decoded {
                Decoded::Data { channel, len } => {
                    self.reading = channel as usize / 2;
                    self.channels[self.reading].sending.data(len as u64);
                }
                Decoded::Payload(bytes) => self.channels[self.reading].sending.payload(bytes),
                Decoded::Control(control) => self.hear_control(control),
                Decoded::Unknown { op } => panic!("op {op}"),
            }
        }
        self.decoder = decoder;
    }

    fn hear_control(&mut self, control: Control) {
        let at = |channel: u32| channel as usize / 2;
        match control {
            Control::Fin { channel } => self.channels[at(channel)].sending.fin(),
            Control::Reset { channel, code } => self.channels[at(channel)].sending.reset(code),
            Control::Stop { channel, .. } => {
                let state = &self.channels[at(channel)];
                assert!(state.stopped || state.released);
            }
            Control::Window { channel, limit } => {
                let state = &mut self.channels[at(channel)];
                assert_eq!(limit, state.limit);
                assert!(limit > state.told && state.end.is_none());
                state.told = limit;
            }
            Control::Blocked { channel, limit } => {
                self.channels[at(channel)].sending.blocked(limit);
            }
            Control::MaxChannels { count } => assert!(count > 1024),
            Control::GoAway { last, code, text } => {
                assert!(self.core.error().is_some());
                assert_eq!(last, self.last_accepted);
                self.go_away = Some((code, text));
            }
            Control::HelloReply { .. } | Control::Settings { .. } | Control::Ping { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Whoever sleeps and has something to do was woken.
    fn hear_events(&mut self) {
        while let Some(event) = self.core.poll_event() {
            if let Event::Readable(key) = event {
                let of_key = |state: &&mut Channel| state.key == Some(key);
                if let Some(state) = self.channels.iter_mut().find(of_key) {
                    state.asleep = false;
                }
            }
        }
        if self.core.error().is_none() {
            let stuck = |state: &Channel| state.asleep && !state.released && !state.is_quiet();
            assert!(!self.channels.iter().any(stuck), "a reader sleeps on");
        }
    }

    /// Everything that may leave has left; after a violation the peer is told.
    fn end(&mut self) {
        self.transmit(usize::MAX);
        match self.core.error() {
            Some(ConnectionError::Violation { code, text }) => {
                assert_eq!(self.go_away, Some((*code, text.clone())));
            }
            // The model answers no ping.
            Some(error) => assert_eq!(*error, ConnectionError::Dead),
            None => {
                for state in &self.channels {
                    assert!(state.sending.is_drained(), "{:?}", state.sending);
                }
                let owes = |state: &Channel| state.told < state.limit && state.reads();
                assert!(!self.channels.iter().any(owes), "a window was lost");
            }
        }
        assert!(!self.core.wants_transmit());
    }
}

impl Channel {
    fn stop(&mut self) {
        self.stopped = true;
        self.asleep = false;
        self.waiting = 0;
    }

    fn release(&mut self) {
        self.released = true;
        self.waiting = 0;
        self.sending.release();
    }

    /// Nothing is there to read.
    fn is_quiet(&self) -> bool {
        self.waiting == 0 && self.end.is_none() && !self.stopped
    }

    fn reads(&self) -> bool {
        self.end.is_none() && !self.stopped && !self.released
    }
}
