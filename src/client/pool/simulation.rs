//! The state machine of the pool against a world from a seed, without a runtime. Callers
//! come and go. Dials take their time, fail or are lost. Connections are late, stall, drain
//! and end. Servers fail their channels.
//!
//! `TCPCHAN_SEEDS=100000 cargo test --release --lib pool::simulation` tries more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Settings;
use super::action::Action;
use super::link::{Health, Link, Seen};
use super::state::{Opened, State};
use super::waiters::WaiterId;
use crate::client::{ConnectError, PoolConfig};

#[path = "../../../tests/support/seeds.rs"]
mod seeds;

const SEEDS: u64 = 2000;
const STEPS: usize = 60;

const SECOND: Duration = Duration::from_secs(1);
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
const DEAD: Duration = Duration::from_secs(20);
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(300);
/// How long connections stay that nobody needs.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Fake(Rc<RefCell<Connection>>);

struct Connection {
    now: Instant,
    since: Instant,
    greeted: bool,
    suspect: bool,
    draining: bool,
    /// With the runtime that ran it, or not.
    ended: Option<bool>,
    stalled: Option<Instant>,
    /// The server fails each channel.
    fails: bool,
    channels: usize,
    limit: usize,
    opened: u64,
    answered: u64,
    unanswered: u64,
}

impl Connection {
    fn overdue(&self, now: Instant) -> Duration {
        self.stalled.map_or(Duration::ZERO, |since| now - since)
    }

    fn available(&self) -> usize {
        self.limit - self.channels
    }

    /// Whether the pool should give it channels.
    fn is_available(&self, now: Instant) -> bool {
        let up = self.greeted || now < self.since + SUSPECT_AFTER;
        let well = !self.suspect && !self.draining && self.ended.is_none();
        up && well && self.overdue(now) < SUSPECT_AFTER && self.available() > 0
    }
}

impl Link for Fake {
    type Channel = Fake;

    fn look(&self, now: Instant) -> Seen {
        let mut one = self.0.borrow_mut();
        one.now = now;
        Seen {
            health: match one.ended {
                Some(true) => Health::Abandoned,
                Some(false) => Health::Ended(ConnectError::dial("it ended")),
                None if one.draining => Health::Draining,
                None if one.suspect => Health::Suspect,
                None => Health::Well,
            },
            greeted: one.greeted,
            overdue: one.overdue(now),
            channels: one.channels,
            available: one.available() as u32,
            opened: one.opened,
            answered: one.answered,
            unanswered: one.unanswered,
            bytes: one.opened,
            rtt: one.greeted.then_some(SECOND / 50),
            heard: one.since,
            saturated: false,
            throughput_limited: None,
        }
    }

    fn open(&self) -> Option<Fake> {
        let mut one = self.0.borrow_mut();
        let now = one.now;
        assert!(one.is_available(now), "a connection was chosen that is not");
        one.channels += 1;
        one.opened += 1;
        Some(self.clone())
    }
}

/// How dials end.
#[derive(Clone, Copy)]
enum Ends {
    Well,
    Fails,
    IsLost,
    Never,
}

struct World {
    rng: Rng,
    now: Instant,
    pool: PoolConfig,
    state: State<Fake>,
    /// By when they end.
    dials: BTreeMap<(Instant, u64), Ends>,
    /// Callers that wait, and until when.
    waiting: BTreeMap<WaiterId, Instant>,
    prewarming: usize,
    links: Vec<Fake>,
    channels: Vec<Fake>,
    served: usize,
    ends: Ends,
    fails: bool,
    /// All is well again.
    settles: bool,
}

impl World {
    fn new(seed: u64) -> World {
        fastrand::seed(seed); // what the pool leaves to chance
        let mut rng = Rng::with_seed(seed);
        let least = rng.usize(1..=4);
        let pool = PoolConfig::default()
            .connections(least..=rng.usize(least..=16))
            .and_then(|pool| pool.target_concurrency(rng.usize(1..20)))
            .and_then(|pool| pool.open_timeout(OPEN_TIMEOUT))
            .and_then(|pool| pool.max_waiting(rng.usize(1..100)))
            .and_then(|pool| pool.idle_timeout(IDLE))
            .and_then(|pool| pool.max_age(rng.bool().then_some(SECOND * 90)))
            .and_then(|pool| pool.max_opened(rng.u32(10..1000)))
            .and_then(|pool| pool.drain_timeout(rng.bool().then_some(SECOND * 5)))
            .expect("values in their ranges");
        let settings = Settings {
            pool: pool.clone(),
            suspect_after: SUSPECT_AFTER,
            dead: DEAD,
            runtime: None,
        };
        let now = Instant::now();
        World {
            rng,
            now,
            pool,
            state: State::new(Arc::new(settings), now),
            dials: BTreeMap::new(),
            waiting: BTreeMap::new(),
            prewarming: 0,
            links: Vec::new(),
            channels: Vec::new(),
            served: 0,
            ends: Ends::Well,
            fails: false,
            settles: false,
        }
    }

    fn some_time(&mut self) -> Duration {
        let most = *self.rng.choice(&[1, 10, 100, 1000, 5000]).expect("some");
        Duration::from_micros(self.rng.u64(1..most * 1000))
    }

    /// Does what the pool asks for.
    fn run(&mut self) {
        for action in self.state.take_actions() {
            match action {
                Action::Dial(id, at) => {
                    self.state.dial_begins(id, at.max(self.now));
                    let takes = match self.ends {
                        Ends::Never => OPEN_TIMEOUT,
                        _ => self.some_time().min(OPEN_TIMEOUT),
                    };
                    self.dials.insert((at.max(self.now) + takes, id), self.ends);
                }
                Action::Give(id, result) => {
                    self.waiting.remove(&id).expect("somebody who waits");
                    if let Ok(channel) = result {
                        self.serve(channel);
                    }
                }
                Action::Prewarmed(..) => self.prewarming -= 1,
                Action::Drain(_) => {} // it ends with its last channel
                Action::Release(_) => {}
                Action::Close(link) => self.end(&link, false),
                Action::Abandon(link) => self.end(&link, true),
            }
        }
        self.check();
    }

    fn look(&mut self) {
        self.end_drained();
        self.state.look(self.now);
        self.run();
    }

    fn end(&mut self, link: &Fake, lost: bool) {
        let mut one = link.0.borrow_mut();
        (one.ended, one.channels) = (Some(lost), 0);
        drop(one);
        self.channels
            .retain(|channel| !Rc::ptr_eq(&channel.0, &link.0));
    }

    /// What drains ends with its last channel.
    fn end_drained(&mut self) {
        for link in self.state.draining() {
            let mut one = link.0.borrow_mut();
            if one.channels == 0 && one.ended.is_none() {
                one.ended = Some(false);
            }
        }
        self.links.retain(|link| link.0.borrow().ended.is_none());
    }

    fn check(&self) {
        let (now, most) = (self.now, self.pool.most);
        let dials = self.state.dials.count();
        assert!(dials <= most.max(2), "{dials} dials");
        let all = dials + self.state.connections().count();
        assert!(all <= most + most.max(8), "{all} connections and dials");
        assert_eq!(self.state.waiters.callers(), self.waiting.len());
        assert!(self.waiting.len() <= self.pool.max_waiting);
        if self.waiting.is_empty() {
            return;
        }
        let usable = |link: &&Fake| !link.0.borrow().suspect;
        assert!(
            dials > 0 || self.state.connections().any(|link| usable(&link)),
            "callers wait for nothing"
        );
        let free = self.state.connections();
        let mut free = free.filter(|link| {
            let one = link.0.borrow();
            let may = one.greeted || !self.state.dials.is_failing();
            may && one.is_available(now) && one.stalled.is_none()
        });
        let settles = self.state.dials.settles(now);
        assert!(settles || free.next().is_none(), "callers wait beside room");
    }

    fn open(&mut self) {
        match self.state.open(self.now) {
            Opened::Channel(channel) => self.serve(channel),
            Opened::Waits(id) => _ = self.waiting.insert(id, self.now + OPEN_TIMEOUT),
            Opened::Full(waiting) => assert_eq!(waiting, self.pool.max_waiting),
        }
        self.run();
    }

    fn serve(&mut self, channel: Fake) {
        self.served += 1;
        self.channels.push(channel);
    }

    fn leave(&mut self, id: WaiterId) {
        self.waiting.remove(&id);
        self.state.leave(id);
        self.run();
    }

    fn dialled(&mut self, id: u64, ends: Ends) {
        let result = match ends {
            Ends::Well => {
                let link = Fake(Rc::new(RefCell::new(Connection {
                    now: self.now,
                    since: self.now,
                    greeted: self.settles || self.rng.u8(..) < 200,
                    suspect: false,
                    draining: false,
                    ended: None,
                    stalled: None,
                    fails: self.fails,
                    channels: 0,
                    limit: self.rng.usize(1..40),
                    opened: 0,
                    answered: 0,
                    unanswered: 0,
                })));
                self.links.push(link.clone());
                Ok(link)
            }
            Ends::Fails => Err(ConnectError::dial("refused")),
            Ends::Never => Err(ConnectError::timeout(OPEN_TIMEOUT, None)),
            Ends::IsLost => {
                self.state.dial_lost(id);
                return self.look();
            }
        };
        self.state.dialled(id, result, self.now);
        self.run();
    }

    fn end_channel(&mut self, nth: usize) {
        if self.channels.is_empty() {
            return;
        }
        let channel = self.channels.swap_remove(nth % self.channels.len());
        let mut one = channel.0.borrow_mut();
        one.channels -= 1;
        match one.fails {
            true => one.unanswered += 1,
            false => one.answered += 1,
        }
        drop(one);
        self.look();
    }

    /// Lets time pass, and what is due happen when it is.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut looks = 0;
        loop {
            let look = self.state.next_look(self.now);
            assert!(
                look.is_none_or(|at| at > self.now),
                "a look that does nothing"
            );
            let dial = self.dials.keys().next().map(|(at, _)| *at);
            let patience = self.waiting.values().min().copied();
            let next = [look, dial, patience].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= until) else {
                break;
            };
            looks += 1;
            assert!(looks < 20_000, "it never rests");
            self.now = self.now.max(next);
            if dial == Some(next) {
                let ((_, id), ends) = self.dials.pop_first().expect("one");
                self.dialled(id, ends);
            } else if patience == Some(next) {
                let late = self.waiting.iter().find(|(_, until)| **until <= next);
                self.leave(*late.expect("one").0);
            } else {
                self.look();
            }
        }
        self.now = until;
    }

    fn act(&mut self) {
        let nth = self.rng.usize(..);
        let link = self.links.get(nth % self.links.len().max(1)).cloned();
        match self.rng.u8(..100) {
            0..35 => (0..self.rng.usize(1..30)).for_each(|_| self.open()),
            35..60 => (0..self.rng.usize(1..30)).for_each(|_| self.end_channel(nth)),
            60..65 => {
                if let Some(id) = self.waiting.keys().nth(nth % self.waiting.len().max(1)) {
                    self.leave(*id);
                }
            }
            65..68 => {
                let _ = self.state.prewarm(nth % 20, self.now);
                self.prewarming += 1;
                self.run();
            }
            68..72 => {
                let ends = [Ends::Well, Ends::Fails, Ends::IsLost, Ends::Never];
                self.ends = *self.rng.choice(&ends).expect("some");
            }
            72..74 => self.fails = !self.fails,
            kind => {
                let Some(link) = link else { return };
                if kind >= 93 {
                    self.end(&link, kind % 2 == 0);
                    return self.look();
                }
                let mut one = link.0.borrow_mut();
                match kind {
                    74..80 => one.greeted = true,
                    80..86 => one.suspect = !one.suspect,
                    86..89 => {
                        one.stalled = match one.stalled {
                            Some(_) => None,
                            None => Some(self.now),
                        }
                    }
                    _ => one.draining = true,
                }
                drop(one);
                self.look();
            }
        }
    }

    /// All is well again: who waits is served, and what is not needed goes.
    fn settle(&mut self) {
        (self.ends, self.fails, self.settles) = (Ends::Well, false, true);
        for link in &self.links {
            let mut one = link.0.borrow_mut();
            (one.greeted, one.suspect, one.stalled) = (true, false, None);
        }
        self.look();
        for _ in 0..200 {
            self.end_channel(0);
            self.pass(SECOND / 10);
        }
        assert!(self.waiting.is_empty(), "callers were forgotten");
        // After failures each dial waits until the connection before it was good.
        for _ in 0..600 {
            if self.prewarming > 0 {
                self.pass(SECOND / 10);
            }
        }
        assert_eq!(self.prewarming, 0, "one waits for connections");
        while !self.channels.is_empty() {
            self.end_channel(0);
        }
        let served = self.served;
        self.open();
        self.pass(OPEN_TIMEOUT);
        assert_eq!(self.served, served + 1, "the next caller gets no channel");
        self.end_channel(0);
        self.pass(QUIET);
        while self.state.dials.count() > 0 {
            self.pass(SECOND); // one reaches its age, and goes once it is replaced
        }
        let left = self.state.connections().count();
        assert_eq!(left, self.pool.least, "connections that nobody needs");
        self.pass(IDLE * 2);
        assert!(self.state.is_over(self.now), "it is never forgotten");
    }
}

#[test]
fn whatever_happens_callers_are_served_and_what_is_not_needed_goes() {
    seeds::each(SEEDS, "--lib pool::simulation", |seed| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.act();
            let time = world.some_time();
            world.pass(time);
        }
        world.settle();
    });
}
