//! Selection: which connection gets the next channel.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use crate::proto::HeldUp;

/// Below it, differences between round-trip times are chance.
const FLOOR: Duration = Duration::from_millis(1);

/// Channels that a new connection gets before others: what it carries at first
/// is little, the kernel's first ten segments.
const FIRST: u64 = 32;

/// Whether a connection may get channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Healthy,
    /// Its task was not run for long. It may be about to run, as after a call that
    /// blocked, so it is neither used nor replaced for a moment.
    Stalled,
    /// It is late, so it is replaced.
    Suspect,
}

/// One connection at one moment: the snapshot that the pool decides on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub standing: Standing,
    /// The peer has answered the hello.
    pub greeted: bool,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// Its channels fail.
    pub ejected: bool,
    /// It was dialled lately.
    pub is_new: bool,
    /// Channels that are not over.
    pub channels: usize,
    /// Channels that the peer takes beside those.
    pub room: u32,
    /// Channels that the peer has answered.
    pub answered: u64,
    pub rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// How long the peer has said nothing since it got a channel.
    pub owes: Duration,
    /// A transfer fills it, so that what is small waits behind it.
    pub saturated: bool,
    /// When the transport was last found to hold it back, and at what rate.
    pub held_up: Option<HeldUp>,
}

impl View {
    /// Whether it counts among the connections that there should be.
    pub fn is_fresh(&self) -> bool {
        self.standing != Standing::Suspect && !self.retiring
    }

    /// Whether it could serve a caller, now or once it has room.
    pub fn is_usable(&self) -> bool {
        self.standing != Standing::Suspect
    }

    /// Whether it can take a channel now.
    pub fn is_available(&self) -> bool {
        self.standing == Standing::Healthy && self.room > 0
    }

    /// How full it is: 1, it has its target concurrency; 2, it is new and has as many
    /// channels as it can be expected to carry. That doubles with each burst that it
    /// has served, as the window of TCP does.
    fn fullness(&self, concurrency: usize) -> u8 {
        match self.channels {
            n if self.is_new && n as u64 >= FIRST + self.answered => 2,
            n => u8::from(n >= concurrency),
        }
    }

    /// The work that the connection has, in time. A peer that is silent counts
    /// as that slow already before it is late.
    fn load(&self, quickest: Duration) -> u128 {
        let rtt = self.rtt.unwrap_or(quickest).max(self.owes).max(FLOOR);
        (self.channels as u128 + 1) * rtt.as_nanos()
    }
}

/// The best connection for a channel: the least loaded and quickest, and of those alike
/// the one that was heard last. To look at all of them is better than at two by chance,
/// and as cheap with so few. Others come first than those that are ejected, may never
/// answer, are to be replaced, are saturated or have enough to do, in this order.
pub(super) fn best(views: &[View], concurrency: usize) -> Option<usize> {
    let quickest = views.iter().filter_map(|view| view.rtt).min();
    let quickest = quickest.unwrap_or_default();
    let rank = |view: &View| {
        let full = view.fullness(concurrency);
        let last = (view.ejected, !view.greeted, view.retiring);
        let load = view.load(quickest);
        (last, view.saturated, full, load, Reverse(view.heard))
    };
    let available = (0..views.len()).filter(|at| views[*at].is_available());
    available.min_by_key(|at| rank(&views[*at]))
}

/// The connections that get channels in turn, those to keep first: they have channels
/// that would otherwise have to end, and have carried most.
pub(super) fn worth_keeping(views: &[View]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..views.len())
        .filter(|at| views[*at].is_fresh())
        .collect();
    order.sort_by_key(|at| {
        let view = &views[*at];
        let last = (view.ejected, !view.greeted);
        (last, Reverse(view.channels), Reverse(view.answered))
    });
    order
}
