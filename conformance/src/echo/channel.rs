use super::Faults;
use crate::frame::Settings;

/// Bytes of an echo that wait for credit.
const QUEUE: usize = 65_536;

/// One channel of an endpoint, with its credit in both directions.
#[derive(Debug, Default)]
pub struct Channel {
    /// This side opened it.
    pub ours: bool,
    /// Bytes that came, the last limit that was said, and those that nobody has read.
    pub got: u64,
    pub said: u64,
    pub unread: Vec<u8>,
    /// The peer's end, clean or not; and what of its debt was not paid back.
    pub ended: Option<bool>,
    pub unpaid: u64,
    /// The echo that waits, what was sent, and the last limit that came.
    pub queue: Vec<u8>,
    pub sent: u64,
    pub limit: u64,
    pub loan: u64,
    /// FIN or RESET was sent.
    pub over: bool,
    /// STOP came, or was sent.
    pub stopped: bool,
    pub stops: bool,
    /// The peer showed that it has got the channel, or refused it.
    pub used: bool,
    pub refused: bool,
}

impl Channel {
    pub fn new(ours: bool, mine: Settings, theirs: Settings) -> Channel {
        Channel {
            ours,
            said: mine.window.into(),
            limit: theirs.window.into(),
            loan: 2 << 20,
            ..Channel::default()
        }
    }

    /// What the peer has borrowed, as long as it has not ended.
    pub fn borrowed(&self) -> u64 {
        match self.ended {
            None => self.got.saturating_sub(self.said),
            Some(_) => self.unpaid,
        }
    }

    /// What this side has borrowed.
    pub fn debt(&self) -> u64 {
        self.sent.saturating_sub(self.limit)
    }

    pub fn is_closed(&self) -> bool {
        self.over && self.ended.is_some()
    }

    /// The application reads as much as it can write.
    pub fn read(&mut self) {
        if self.stopped || self.ended == Some(false) {
            self.unread.clear();
            self.queue.clear();
        }
        let room = QUEUE
            .saturating_sub(self.queue.len())
            .min(self.unread.len());
        self.queue.extend(self.unread.drain(..room));
    }

    /// The limit of a WINDOW that is due; `coming` bytes of a frame have not come.
    pub fn window(&self, mine: Settings, coming: u64, faults: &Faults) -> Option<u64> {
        if self.ended.is_some() || self.stops || faults.has("no window") {
            return None;
        }
        let window = u64::from(mine.window);
        let mut limit = self.got - self.unread.len() as u64 + window;
        let mut step = window.div_ceil(2);
        if faults.has("counts bytes that have not come") {
            limit += coming;
        }
        if faults.has("small windows") && limit > self.said {
            step = 1;
        }
        if faults.has("large windows") {
            limit += 1;
        }
        (limit >= self.said + step).then_some(limit)
    }

    /// What of an ended direction's debt can be paid back now.
    pub fn payable(&self, mine: Settings) -> u64 {
        let held = (self.unread.len() as u64).saturating_sub(mine.window.into());
        match self.ended {
            None => 0,
            Some(_) => self.unpaid - self.unpaid.min(held),
        }
    }

    /// Bytes that may be sent, where so many may still be borrowed.
    pub fn room(&self, free: u64, faults: &Faults) -> usize {
        if faults.has("ignores the limit") {
            return self.queue.len();
        }
        let own = self.limit.saturating_sub(self.sent);
        let loan = free.min(self.loan.saturating_sub(self.debt()));
        let room = own.saturating_add(loan).min(self.queue.len() as u64);
        room as usize
    }
}
