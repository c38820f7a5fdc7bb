//! The state machine of the pool against a world from a seed, without a runtime. Callers
//! come and go. Dials take their time, fail or are lost. Connections are late, stall, drain
//! and end. Servers fail their channels. Names get other addresses, of which some are down.
//!
//! `TCPCHAN_SEEDS=100000 cargo test --release --lib pool::simulation` tries more.

mod checks;
mod connection;
mod events;
mod names;
#[path = "../../../../tests/support/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hyper_util::client::legacy::connect::Connected;

use super::state::State;
use super::waiters::WaiterId;
use crate::client::fallback::config::FallbackConfig;
use crate::client::fallback::negotiated::{Negotiated, Questions};
use crate::client::settings::Settings;
use crate::client::{Discovery, PoolConfig};
use crate::config::Config;
use connection::Fake;
use names::{MOST_ADDRESSES, Names};

const SEEDS: u64 = 2000;
const STEPS: usize = 60;

const SECOND: Duration = Duration::from_secs(1);
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
const DEAD: Duration = Duration::from_secs(20);
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(300);
/// How long connections stay that nobody needs: loss is over after a minute.
const QUIET: Duration = Duration::from_secs(120);
/// Bytes a second of a connection that is alone on the link.
const RATE: u64 = 64_000;

/// How dials end.
#[derive(Clone, Copy)]
enum Ends {
    Well,
    Fails,
    IsLost,
    Never,
    MeetsHttp,
}

/// What limits the rate of connections.
#[derive(Clone, Copy)]
enum Limits {
    Each,
    All,
}

struct World {
    rng: Rng,
    now: Instant,
    pool: PoolConfig,
    state: State<Fake>,
    /// By when they end.
    dials: BTreeMap<(Instant, u64), (Ends, Option<SocketAddr>)>,
    /// Callers that wait, and until when.
    waiting: BTreeMap<WaiterId, Instant>,
    prewarming: usize,
    links: Vec<Fake>,
    channels: Vec<Fake>,
    served: usize,
    ends: Ends,
    fails: bool,
    limits: Option<Limits>,
    /// Servers may speak HTTP.
    falls_back: bool,
    /// If the target has a name that is resolved.
    names: Option<Names>,
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
            .expect("each value lies in the range that PoolConfig documents");
        let falls_back = rng.bool();
        let questions = Questions {
            negotiated: Arc::new(|_| Negotiated::Nothing),
            connected: |_| Connected::new(),
        };
        let asks = FallbackConfig::default().first_answer(rng.bool());
        let settings = Settings {
            fallback: falls_back.then_some((questions, asks)),
            config: Config::default()
                .answer_within(SUSPECT_AFTER, DEAD)
                .expect("Config documents the range"),
            pool: pool.clone(),
            ..Settings::default()
        };
        let now = Instant::now();
        let names = rng.bool().then(Names::default);
        let discovery = Discovery::default().max_addresses(MOST_ADDRESSES);
        let discovery = discovery.expect("Discovery documents the range");
        let discovery = names.as_ref().map(|_| &discovery);
        World {
            state: State::new(Arc::new(settings), discovery, now),
            names,
            rng,
            now,
            pool,
            dials: BTreeMap::new(),
            waiting: BTreeMap::new(),
            prewarming: 0,
            links: Vec::new(),
            channels: Vec::new(),
            served: 0,
            ends: Ends::Well,
            fails: false,
            limits: None,
            falls_back,
            settles: false,
        }
    }

    fn some_time(&mut self) -> Duration {
        let most = [1, 10, 100, 1000, 5000][self.rng.usize(..5)];
        Duration::from_micros(self.rng.u64(1..most * 1000))
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
            68..71 => {
                let ends = [
                    Ends::Well,
                    Ends::Fails,
                    Ends::IsLost,
                    Ends::Never,
                    Ends::MeetsHttp,
                ];
                let most = ends.len() - usize::from(!self.falls_back);
                self.ends = ends[self.rng.usize(..most)];
            }
            71 => self.limits = [None, Some(Limits::Each), Some(Limits::All)][nth % 3],
            72 => self.fails = !self.fails,
            73 => self.change_addresses(),
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
