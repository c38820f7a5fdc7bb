//! A server core, fed operations of its application and frames of its peer,
//! against a model of the receiving side: which frame is a violation, how many
//! bytes wait, and how each channel ends.
#![no_main]

use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tcpchan::Config;
use tcpchan::proto::{ChannelError, Connection, ConnectionError, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};

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
    Window {
        channel: u8,
        limit: u32,
    },
    Accept,
    Read {
        channel: u8,
        most: u16,
    },
    Stop {
        channel: u8,
    },
    Release {
        channel: u8,
    },
    Transmit,
    Wait {
        ms: u8,
    },
}

const WINDOW: u64 = 64 << 10;

#[derive(Default)]
struct Channel {
    key: Option<Key>,
    received: u64,
    waiting: u64,
    /// The credit that the core has given.
    limit: u64,
    end: Option<End>,
    stopped: bool,
    released: bool,
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
    waiting: std::collections::VecDeque<usize>,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let mut model = Model::new();
    while !input.is_empty() && model.core.error().is_none() {
        let Ok(step) = Step::arbitrary(&mut input) else {
            return;
        };
        model.take(step);
    }
});

impl Model {
    fn new() -> Model {
        let now = Instant::now();
        // The budget is 0, so that windows keep their size.
        let config = Config::default().receive_budget(0);
        let mut model = Model {
            core: Connection::new(Role::Server, config, now),
            now,
            channels: Vec::new(),
            waiting: Default::default(),
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
                self.say(Control::Fin { channel });
                self.end(index, End::Fin);
            }
            Step::Reset { channel, code } => {
                let (index, channel) = self.pick(channel);
                self.say(Control::Reset { channel, code });
                self.end(index, End::Reset(code));
            }
            Step::Window { channel, limit } => {
                let (index, channel) = self.pick(channel);
                let limit = limit.into();
                self.say(Control::Window { channel, limit });
                self.check(index >= self.channels.len());
            }
            Step::Accept => self.accept(),
            Step::Read { channel, most } => self.held(channel, |model, i, key| {
                model.read(i, key, most.into());
            }),
            Step::Stop { channel } => self.held(channel, |model, i, key| {
                model.core.stop(key, 1);
                model.channels[i].stopped = true;
                model.channels[i].waiting = 0;
            }),
            Step::Release { channel } => self.held(channel, |model, i, key| {
                model.core.release(key);
                model.channels[i].released = true;
                model.channels[i].waiting = 0;
                assert_eq!(model.core.write(key, b"x"), Err(ChannelError::Unknown));
            }),
            Step::Transmit => {
                let mut out = Vec::new();
                self.core.poll_transmit(&mut out, 1 << 20, self.now);
            }
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
                ..Channel::default()
            });
        }
    }

    fn data(&mut self, channel: u8, len: u16) {
        let (index, channel) = self.pick(channel);
        let len = usize::from(len) % (16 << 10) + 1;
        let mut bytes = Vec::new();
        let body = &vec![7; len];
        Frame::Data { channel, body }.encode(Version::V1, &mut bytes);
        self.core.handle_input(&bytes, self.now);
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

    fn end(&mut self, index: usize, end: End) {
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
            assert_eq!(self.core.id(key), Some(index as u32 * 2 + 1));
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
        let read = self.core.read(key, &mut buf, self.now);
        let state = &mut self.channels[index];
        match read {
            Ok(Read::Bytes(n)) => {
                assert!(n > 0 && buf[..n].iter().all(|byte| *byte == 7));
                assert_eq!(n as u64, state.waiting.min(most as u64));
                state.waiting -= n as u64;
                let consumed = state.received - state.waiting;
                if state.limit - consumed <= WINDOW / 2 {
                    state.limit = consumed + WINDOW;
                }
            }
            Ok(Read::Blocked) => {
                let nothing = state.waiting == 0 && state.end.is_none() && !state.stopped;
                assert!(nothing || most == 0);
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
}
