//! What a pool decides: which connection gets the next channel, and how many
//! connections there should be. Functions of what is seen, and nothing else.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use super::config::PoolConfig;
use crate::proto::HeldUp;

/// Below it, differences between round-trip times are chance.
const FLOOR: Duration = Duration::from_millis(1);

/// How many connections there may be on top of the most that take channels,
/// however few those are: the ones that are late, and so are replaced.
const LATE: usize = 8;

/// One connection at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// It is neither late, nor drains, nor has ended.
    pub well: bool,
    /// The peer has answered.
    pub answered: bool,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// Channels that are not over.
    pub channels: usize,
    /// Channels that the peer takes beside those.
    pub room: u32,
    /// The smoothed round-trip time, once it was measured.
    pub rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// How long the peer has said nothing since it got a channel.
    pub owes: Duration,
    /// When the link was found to hold it up, and how much.
    pub held_up: Option<HeldUp>,
}

impl View {
    /// Whether it counts among the connections that there should be.
    pub fn is_fresh(&self) -> bool {
        self.well && !self.retiring
    }

    fn takes_channels(&self) -> bool {
        self.well && self.room > 0
    }

    /// The work that the connection has, in time. A peer that is silent counts
    /// as that slow already before it is late.
    fn load(&self, quickest: Duration) -> u128 {
        let rtt = self.rtt.unwrap_or(quickest).max(self.owes).max(FLOOR);
        (self.channels as u128 + 1) * rtt.as_nanos()
    }
}

/// Those that can take a channel, the best first: the least loaded and
/// quickest, and of those alike the one that was heard last. Looking at all of
/// them is better than at two by chance, and as cheap with so few. What may
/// never answer, or is to be replaced, comes after the others.
pub(super) fn best_first(views: &[View]) -> Vec<usize> {
    let quickest = views.iter().filter_map(|view| view.rtt).min();
    let quickest = quickest.unwrap_or_default();
    let mut order: Vec<usize> = (0..views.len())
        .filter(|i| views[*i].takes_channels())
        .collect();
    order.sort_by_key(|i| {
        let view = &views[*i];
        let last = (!view.answered, view.retiring);
        (last, view.load(quickest), Reverse(view.heard))
    });
    order
}

/// Channels that can be opened now.
pub(super) fn room(views: &[View]) -> usize {
    let well = views.iter().filter(|view| view.well);
    well.map(|view| view.room as usize)
        .fold(0, usize::saturating_add)
}

/// Whom more connections would be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A caller who has come for a channel.
    Caller,
    /// Nobody yet: so that the next caller finds a connection.
    Ahead,
}

/// How many more connections are to be dialled, beside the dials under way.
/// `for_loss` of them there should be at least. `failing`: no connection has been
/// good since the last failure, so it is one at a time, and only for a caller.
pub(super) fn missing(
    views: &[View],
    dialling: usize,
    pool: &PoolConfig,
    for_loss: usize,
    need: Need,
    failing: bool,
) -> usize {
    let fresh = views.iter().filter(|view| view.is_fresh()).count();
    let wanted = match (need, failing) {
        (Need::Ahead, true) => 0,
        (Need::Ahead, false) => pool.least.max(for_loss),
        (Need::Caller, true) => wanted_by_load(views, fresh, pool).min(fresh + 1),
        (Need::Caller, false) => wanted_by_load(views, fresh, pool).max(for_loss),
    };
    let room = (pool.most + pool.most.max(LATE)).saturating_sub(views.len() + dialling);
    wanted.saturating_sub(fresh + dialling).min(room)
}

/// One more than there are if each of those has enough to do.
fn wanted_by_load(views: &[View], fresh: usize, pool: &PoolConfig) -> usize {
    let free =
        |view: &View| view.is_fresh() && view.takes_channels() && view.channels < pool.busy_at;
    let more = usize::from(!views.iter().any(free));
    (fresh + more).clamp(pool.least, pool.most)
}
