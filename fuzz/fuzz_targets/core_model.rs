//! A server core, fed operations of its application and frames of its peer,
//! against a model of each channel: which frame is a violation, how many bytes
//! wait, what is read and sent and in which order, how each half ends, and what
//! credit is given, borrowed and paid back. Credit is modelled after the rules W10
//! to W12 of `src/wire/SPEC.md`, not after the code.
#![no_main]

mod bytes;
mod sending;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tcpchan::proto::{ChannelError, Config, Connection, ConnectionError, Event, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, Protocol, Settings, Version};

use self::bytes::pattern;
use self::sending::{Loans, Sending, least_return};

#[derive(Arbitrary, Debug)]
enum Step {
    /// The peer opens the next channel, or one that it may not.
    Open {
        skips: bool,
    },
    Data {
        channel: u8,
        len: u16,
        frames: u8,
        how: u8,
    },
    Fin {
        channel: u8,
        how: u8,
        more: u16,
    },
    Reset {
        channel: u8,
        code: u32,
        how: u8,
        more: u16,
    },
    PeerStops {
        channel: u8,
        code: u32,
    },
    Window {
        channel: u8,
        how: u8,
        part: u16,
    },
    Return {
        how: u8,
        part: u16,
    },
    Accept,
    Read {
        channel: u8,
        most: u16,
    },
    Write {
        channel: u8,
        len: u16,
    },
    /// Writes and sends until nothing more leaves.
    Fill {
        channel: u8,
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

/// The largest DATA frame.
const MAX_DATA: u64 = 16 << 10;

/// A WINDOW comes no later than so long after it could (W11).
const LATEST: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Channel {
    key: Option<Key>,
    received: u64,
    waiting: u64,
    /// The limit that the peer knows, and the highest that the core may count: it
    /// counts one as soon as it has made up its mind to say it.
    told: u64,
    most: u64,
    /// Since when a WINDOW must come.
    due: Option<Instant>,
    end: Option<End>,
    /// What the end said is borrowed.
    debt: u64,
    /// The reader waits for an event.
    asleep: bool,
    stopped: bool,
    released: bool,
    sending: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq)]
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
    window: u64,
    budget: u64,
    send_buffer: u64,
    loans: Loans,
    /// What the core's RETURNs have said.
    returned: u64,
    /// The peer has kept to the limits that it knows.
    honest: bool,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(mut model) = Model::new(&mut input) else {
        return;
    };
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
    fn new(input: &mut Unstructured) -> arbitrary::Result<Model> {
        let now = Instant::now();
        let (window, budget) = credit(input)?;
        let theirs = credit(input)?;
        let send_buffer = *input.choose(&[1, 20_000, 20_000, 300_000])?;
        let config = Config::default().receive_budget(budget);
        let config = config.initial_window(window);
        let config = config.and_then(|config| config.send_buffer(send_buffer));
        let mut model = Model {
            core: Connection::new(Role::Server, config.expect("in range"), now),
            now,
            channels: Vec::new(),
            waiting: VecDeque::new(),
            last_accepted: 0,
            decoder: Decoder::new(Protocol::V1),
            reading: 0,
            go_away: None,
            window: window.into(),
            budget,
            send_buffer: send_buffer as u64,
            loans: Loans::new(theirs.0.into(), theirs.1),
            returned: 0,
            honest: true,
        };
        let magic = DEFAULT_MAGIC;
        let mut settings = Settings::default();
        (settings.initial_window, settings.receive_budget) = theirs;
        let body = settings.encode();
        model.say(Control::Hello { magic });
        model.say(Control::Settings { body });
        Ok(model)
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
            Step::Data {
                channel,
                len,
                frames,
                how,
            } => {
                for _ in 0..=frames / 32 {
                    self.data(channel, len, how);
                }
            }
            Step::Fin { channel, how, more } => {
                let (index, _) = self.pick(channel);
                let debt = self.debt_to_say(index, how, more);
                self.end_of(index, End::Fin, debt);
            }
            Step::Reset {
                channel,
                code,
                how,
                more,
            } => {
                let (index, _) = self.pick(channel);
                let debt = self.debt_to_say(index, how, more);
                self.end_of(index, End::Reset(code), debt);
            }
            Step::PeerStops { channel, code } => {
                let (index, channel) = self.pick(channel);
                self.say(Control::Stop { channel, code });
                self.check(index >= self.channels.len());
                if let Some(state) = self.channels.get_mut(index) {
                    state.sending.peer_stops(code);
                }
            }
            Step::Window { channel, how, part } => self.peer_gives(channel, how, part),
            Step::Return { how, part } => self.peer_returns(how, part),
            Step::Accept => self.accept(),
            Step::Read { channel, most } => self.held(channel, |model, i, key| {
                model.read(i, key, most.into());
            }),
            Step::Write { channel, len } => self.held(channel, |model, i, key| {
                model.write(i, key, usize::from(len));
            }),
            Step::Fill { channel } => self.held(channel, |model, i, key| {
                for _ in 0..8 {
                    if model.channels[i].sending.is_open() {
                        model.write(i, key, 60_000);
                        model.transmit(usize::MAX);
                    }
                }
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
        if self.core.error().is_none() {
            self.check_credit();
        }
    }

    /// What the core holds and what it counts as borrowed.
    fn check_credit(&mut self) {
        let stats = self.core.stats();
        let waiting: u64 = self.channels.iter().map(|channel| channel.waiting).sum();
        assert_eq!(stats.buffered, waiting);
        for state in &mut self.channels {
            state.look(self.window, self.now);
        }
        let least = self.budget.saturating_sub(self.debts());
        let most = self.budget.saturating_sub(self.certain_debts());
        let left = stats.budget_left;
        assert!(
            least <= left && left <= most,
            "{least} <= {left} <= {most}: {:?}",
            self.channels
        );
    }

    /// What the peer has borrowed of the core's budget, as it knows it (W10).
    fn debts(&self) -> u64 {
        let debts = self.channels.iter().map(|state| match state.end {
            None => state.received.saturating_sub(state.told),
            Some(_) => state.debt,
        });
        debts.sum::<u64>() - self.returned
    }

    /// The part of it that the core can't count as paid back.
    fn certain_debts(&self) -> u64 {
        let debts = self.channels.iter().map(|state| match state.end {
            None => state.received.saturating_sub(state.most),
            Some(_) => state.held(self.window),
        });
        debts.sum()
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
                told: self.window,
                most: self.window,
                sending: Sending::new(self.loans.window, channel),
                ..Channel::default()
            });
        }
    }

    /// DATA that fits mostly; one byte too much, or any length.
    fn data(&mut self, channel: u8, len: u16, how: u8) {
        if self.core.error().is_some() {
            return;
        }
        let (index, channel) = self.pick(channel);
        let mut len = u64::from(len) % MAX_DATA + 1;
        if self.channels.get(index).is_some() {
            if self.room(index) < len {
                self.flush();
            }
            match (how, self.room(index)) {
                (0..8, _) => {}
                (8..16, room) if room < MAX_DATA => len = room + 1,
                (_, 0) => return,
                (_, room) => len = len.min(room),
            }
        }
        let from = self.channels.get(index).map_or(0, |state| state.received);
        let mut bytes = Vec::with_capacity(8 + len as usize);
        let body = pattern(channel, from, len as usize);
        Frame::Data { channel, body }.encode(Version::V1, &mut bytes);
        match len % 2 {
            0 => self.core.handle_input(&bytes, self.now),
            _ => self.core.handle_block(&bytes.into(), self.now),
        }
        let (window, room, certain) = (self.window, self.room(index), self.certain_debts());
        let Some(state) = self.channels.get_mut(index) else {
            return self.check(true);
        };
        if state.end.is_some() {
            return self.check(true); // W14.1, also where the channel is closed
        }
        let before = state.received.saturating_sub(state.most);
        let after = (state.received + len).saturating_sub(state.most);
        let (fits, may_fit) = (
            len <= room,
            after == before || certain + after - before <= self.budget,
        );
        if !may_fit {
            return self.check(true);
        }
        if self.core.error().is_none() {
            self.honest &= fits;
            state.received += len;
            if !state.stopped && !state.released {
                state.waiting += len;
            }
            state.look(window, self.now);
        }
        if fits {
            self.check(false);
        }
    }

    /// How much more the peer may send on a channel, as it knows it (W10).
    fn room(&self, index: usize) -> u64 {
        let free = self.budget.saturating_sub(self.debts());
        let own = |state: &Channel| state.told.saturating_sub(state.received);
        self.channels
            .get(index)
            .map_or(0, |state| own(state).saturating_add(free))
    }

    /// What an end says is borrowed: mostly what the peer knows, or what it knew
    /// before.
    fn debt_to_say(&mut self, index: usize, how: u8, more: u16) -> u64 {
        if (8..40).contains(&how) {
            self.flush();
        }
        let Some(state) = self.channels.get(index) else {
            return more.into();
        };
        let known = state.received.saturating_sub(state.told);
        let most = state.received.saturating_sub(self.window);
        match how {
            8..16 => known.saturating_sub(1 + u64::from(more)),
            16..24 => state.received + 1 + u64::from(more),
            24..32 => known + u64::from(more),
            32..36 => self.budget.saturating_add(1),
            36..40 => u64::MAX,
            40..64 => (known + u64::from(more)).min(most.max(known)),
            _ => known,
        }
    }

    /// FIN or RESET (W12).
    fn end_of(&mut self, index: usize, end: End, debt: u64) {
        let channel = index as u32 * 2 + 1;
        let (debts, certain) = (self.debts(), self.certain_debts());
        self.say(match end {
            End::Fin => Control::Fin { channel, debt },
            End::Reset(code) => Control::Reset {
                channel,
                code,
                debt,
            },
        });
        let Some(state) = self.channels.get_mut(index) else {
            return self.check(true);
        };
        if state.end.is_some() {
            return self.check(true);
        }
        let known = state.received.saturating_sub(state.told);
        let least = state.received.saturating_sub(state.most);
        // No limit is below a window, but the rules let nobody count on that.
        let sound = debt >= known && debt <= state.received.saturating_sub(self.window);
        let fits = sound && debts - known + debt <= self.budget;
        let sound = debt >= least && debt <= state.received;
        let may_fit = sound && (certain - least).saturating_add(debt) <= self.budget;
        if !may_fit {
            return self.check(true);
        }
        if self.core.error().is_none() {
            self.honest &= debt >= known && debts - known + debt <= self.budget;
            (state.end, state.debt) = (Some(end), debt);
        }
        if fits {
            self.check(false);
        }
    }

    /// WINDOW (W11).
    fn peer_gives(&mut self, channel: u8, how: u8, part: u16) {
        let (index, channel) = self.pick(channel);
        let Some(state) = self.channels.get(index) else {
            self.say(Control::Window {
                channel,
                limit: 1,
                loan: 2 << 20,
            });
            return self.check(true);
        };
        let fit = state.sending.windows(self.loans.window);
        let Some(limit) = draw(&fit, how, part) else {
            return;
        };
        let over = state.released && state.end.is_some() && state.sending.has_ended();
        self.say(Control::Window {
            channel,
            limit,
            loan: 2 << 20,
        });
        // One that is over may be forgotten already.
        if !over {
            self.check(!fit.contains(&limit));
        }
        if fit.contains(&limit) {
            self.channels[index].sending.window(limit);
        }
    }

    /// RETURN (W12).
    fn peer_returns(&mut self, how: u8, part: u16) {
        let fit = self.loans.returns();
        if let Some(total) = draw(&fit, how, part) {
            self.say(Control::Return { total });
            self.check(!fit.contains(&total));
            if fit.contains(&total) {
                self.loans.on_return(total);
            }
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

    fn write(&mut self, index: usize, key: Key, len: usize) {
        let from = self.channels[index].sending.written();
        let bytes = pattern(index as u32 * 2 + 1, from, len);
        let unsent = self.channels[index].sending.unsent();
        let room = self.send_buffer.saturating_sub(unsent);
        let result = self.core.write(key, bytes);
        let accepted = *result.as_ref().unwrap_or(&0);
        self.channels[index].sending.takes(accepted as u64);
        let sending = &self.channels[index].sending;
        match result {
            Ok(n) => {
                assert!(sending.is_open());
                assert_eq!(n, len.min(room as usize));
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

    /// All that can leave leaves. After that the peer knows each limit that the core
    /// counts, and nothing that must leave is left.
    fn flush(&mut self) {
        self.transmit(usize::MAX);
        if self.core.error().is_some() {
            return;
        }
        assert!(!self.core.wants_transmit());
        let nothing_lent = self.debts_of_core() == 0;
        // The last quarter is for small debts.
        let lendable = self.loans.budget - self.loans.budget / 4;
        let mut paid = 0;
        for state in &mut self.channels {
            if state.reads() {
                state.most = state.told;
                let late = |due| self.budget == 0 || due + LATEST <= self.now;
                assert!(!state.due.is_some_and(late), "no WINDOW: {state:?}");
            }
            if state.end.is_some() && state.waiting <= self.window / 2 {
                paid += state.debt;
            }
            let sending = &state.sending;
            assert!(sending.is_drained(), "{sending:?}");
            // A loan for a part of what waits is a whole frame.
            let needed = sending.needs_loan().min(MAX_DATA);
            let sleeps = nothing_lent && needed > 0 && needed <= lendable;
            assert!(!sleeps, "{sending:?} with {lendable} to borrow");
        }
        let owed = self.returned + least_return(self.window, self.budget);
        assert!(paid < owed, "no RETURN of {paid}");
    }

    /// What the core has borrowed.
    fn debts_of_core(&self) -> u64 {
        self.loans
            .debts(self.channels.iter().map(|state| &state.sending))
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
                Decoded::Payload(bytes) => {
                    self.channels[self.reading].sending.payload(bytes);
                    self.check_loans();
                }
                Decoded::Control(control) => self.hear_control(control),
                Decoded::Unknown { op } => panic!("op {op}"),
            }
        }
        self.decoder = decoder;
    }

    /// W10.
    fn check_loans(&self) {
        let debts = self.debts_of_core();
        assert!(debts <= self.loans.budget, "{debts} of {:?}", self.loans);
    }

    fn hear_control(&mut self, control: Control) {
        let at = |channel: u32| channel as usize / 2;
        match control {
            Control::Fin { channel, debt } => {
                let sending = &mut self.channels[at(channel)].sending;
                self.loans.end(debt, sending);
                sending.fin();
            }
            Control::Reset {
                channel,
                code,
                debt,
            } => {
                let sending = &mut self.channels[at(channel)].sending;
                self.loans.end(debt, sending);
                sending.reset(code);
            }
            Control::Stop { channel, .. } => {
                let state = &self.channels[at(channel)];
                assert!(state.stopped || state.released);
            }
            Control::Window { channel, limit, .. } => {
                let state = &mut self.channels[at(channel)];
                assert!(state.reads(), "{state:?}");
                assert!(limit >= state.told + self.window.div_ceil(2));
                assert!(limit <= state.received - state.waiting + self.window);
                (state.told, state.due) = (limit, None);
                state.look(self.window, self.now);
            }
            Control::Return { total } => {
                let least = least_return(self.window, self.budget);
                assert!(total >= self.returned + least);
                let ended = self.channels.iter().filter(|state| state.end.is_some());
                let paid = ended.map(|state| state.debt - state.held(self.window));
                assert!(total <= paid.sum());
                self.returned = total;
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

    /// Everything that may leave has left, and all credit comes back; after a
    /// violation the peer is told.
    fn end(&mut self) {
        self.flush();
        if self.core.error().is_none() && self.honest {
            self.settle();
        }
        match self.core.error() {
            Some(ConnectionError::Violation { code, text }) => {
                assert_eq!(self.go_away, Some((code.0, text.clone())));
            }
            // The model answers no ping.
            Some(error) => assert_eq!(*error, ConnectionError::Dead),
            None => {}
        }
        assert!(!self.core.wants_transmit());
    }

    /// The application reads all that there is, and nothing is borrowed by a
    /// channel that goes on. The peer ends them, and nothing is borrowed at all.
    fn settle(&mut self) {
        while !self.waiting.is_empty() {
            self.accept();
        }
        for index in 0..self.channels.len() {
            while let state = &self.channels[index]
                && let Some(key) = state.key.filter(|_| state.waiting > 0)
            {
                self.read(index, key, u16::MAX.into());
            }
        }
        self.check_credit();
        self.now += LATEST;
        self.core.handle_timeout(self.now);
        self.flush();
        for index in 0..self.channels.len() {
            if self.core.error().is_some() {
                return;
            }
            let state = &self.channels[index];
            let debt = state.received.saturating_sub(state.told);
            assert!(debt == 0 || !state.reads(), "{state:?}");
            if state.end.is_none() {
                self.end_of(index, End::Fin, debt);
            }
        }
        self.flush();
        if self.core.error().is_none() {
            assert_eq!(self.core.stats().budget_left, self.budget);
        }
    }
}

/// A window, and a budget, of one side.
fn credit(input: &mut Unstructured) -> arbitrary::Result<(u32, u64)> {
    let window = *input.choose(&[64 << 10, 64 << 10, 65_537, 100_000])?;
    let budget = match input.arbitrary::<u8>()? {
        0..50 => 0,
        small @ 50..100 => u64::from(small) - 49,
        100..150 => 30_000,
        150..200 => 100_000,
        200..240 => 4_000_000,
        _ => u64::MAX,
    };
    Ok((window, budget))
}

/// A number that fits, mostly; none if none does.
fn draw(fit: &RangeInclusive<u64>, how: u8, part: u16) -> Option<u64> {
    let (least, most) = (*fit.start(), *fit.end());
    match how {
        0..4 => Some(least - 1),
        4..8 => Some(most + 1),
        8..10 => Some(part.into()),
        10 => Some(u64::MAX),
        11..64 if least <= most => Some(most),
        _ if least <= most => Some(least + u64::from(part) % (most - least + 1)),
        _ => None,
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

    /// Which limit the core may count now, and whether it must say one (W11).
    fn look(&mut self, window: u64, now: Instant) {
        if !self.reads() {
            self.due = None;
            return;
        }
        let can_give = self.received - self.waiting + window;
        let gives_half = can_give >= self.told + window.div_ceil(2);
        if gives_half {
            self.most = self.most.max(can_give);
        }
        // What is unread may take twice its memory. While that is more than a window, the
        // WINDOW may come later.
        let few = self.waiting <= window / 2;
        if gives_half && few && self.received + window / 2 >= self.told {
            self.due.get_or_insert(now);
        } else {
            self.due = None;
        }
    }

    /// Of an end's debt, what is not paid back while bytes are unread.
    fn held(&self, window: u64) -> u64 {
        self.debt.min(self.waiting.saturating_sub(window))
    }
}
