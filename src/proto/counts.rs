//! How many channels there are, and how many there may be.

use super::channel::{Channel, Usage};
use super::config::Config;
use super::error::{ConnectionError, ErrorCode, violation};
use super::half::Half;
use super::handshake::Role;
use crate::wire::{Protocol, Settings};

/// Channels that may wait for the peer's end, beside as many as it says it takes at a
/// time, of which [`MOST_TAKEN`] are believed. An honest peer takes no more before it
/// has ended those.
const MOST_AWAITING_END: usize = 8_192;
const MOST_TAKEN: u32 = 1 << 17;

/// Unsent bytes of released channels from which no more channels are opened. So a peer
/// that is slow to take them keeps a program from writing ever more on new ones.
const MOST_UNSENT: usize = 16 << 20;

/// Version 1 counts channels up to 2^31 - 1.
const LAST_ID: u32 = i32::MAX as u32;

#[derive(Debug)]
pub(super) struct Counts {
    local: Ids,
    remote: Ids,
    /// Version 0 uses numbers again.
    reuses_ids: bool,
    /// A quarter of the channels that the peer may open at a time: it is told of so many
    /// at once, or of any once it has fewer left.
    some: u32,
    /// Channels that are [`Channel::is_accepted_unused`].
    pub unused: usize,
    /// Released channels of this side that are not closed. Of the peer's there are no more
    /// than it may open.
    pub awaiting_end: usize,
    /// Unsent bytes of released channels.
    unsent: usize,
    /// The highest of the peer's ids that the application has got.
    pub last_accepted: u32,
}

/// The ids that one side opens.
#[derive(Debug)]
struct Ids {
    /// Above [`LAST_ID`] once they have run out.
    next: u32,
    /// In version 0 those that are not closed, else all.
    opened: u32,
    limit: u32,
    /// The limit that was last advertised to the peer.
    advertised: u32,
}

impl Ids {
    fn new(next: u32, limit: u32) -> Self {
        Ids {
            next,
            opened: 0,
            limit,
            advertised: limit,
        }
    }
}

impl Counts {
    pub fn new(role: Role, config: &Config) -> Self {
        let (local, remote) = match role {
            Role::Client => (1, 2),
            Role::Server => (2, 1),
        };
        let max_channels = config.settings.max_channels;
        Counts {
            local: Ids::new(local, Settings::default().max_channels),
            remote: Ids::new(remote, max_channels),
            reuses_ids: config.protocol == Protocol::V0,
            some: max_channels / 4,
            unused: 0,
            awaiting_end: 0,
            unsent: 0,
            last_accepted: 0,
        }
    }

    /// The peer speaks version 0, and so many channels of this side are not closed:
    /// nothing but this side's own configuration limits them.
    pub fn on_version0(&mut self, opened: u32, limit: u32) {
        self.reuses_ids = true;
        (self.local.opened, self.local.limit) = (opened, limit);
    }

    /// Channels that can be opened now.
    pub fn room(&self) -> u32 {
        match self.unsent < MOST_UNSENT {
            true => self
                .local
                .limit
                .saturating_sub(self.local.opened)
                .min(self.ids_left()),
            false => 0,
        }
    }

    /// Channels that can be opened at all.
    pub fn ids_left(&self) -> u32 {
        match self.reuses_ids {
            true => u32::MAX,
            false => (LAST_ID + 2).saturating_sub(self.local.next) / 2,
        }
    }

    /// A number for a channel of this side. Those that are in use are only met in
    /// version 0.
    pub fn next_id(&mut self, is_used: impl Fn(u32) -> bool) -> u32 {
        loop {
            let id = self.local.next;
            self.local.next = id.wrapping_add(2);
            // 0 is not used, since a version 1 side says its settings there.
            if id != 0 && !is_used(id) {
                return id;
            }
        }
    }

    pub fn on_open(&mut self) {
        self.local.opened += 1;
    }

    /// Whether a channel of this number was ever opened.
    #[inline]
    pub fn was_opened(&self, id: u32) -> bool {
        let of_peer = id % 2 == self.remote.next % 2;
        id < if of_peer {
            self.remote.next
        } else {
            self.local.next
        }
    }

    /// The peer opens a channel: ids rise by two, up to 2^31 - 1, and a count above the
    /// limit is a violation.
    pub fn on_peer_open(&mut self, id: u32) -> Result<(), ConnectionError> {
        if id != self.remote.next || id > LAST_ID {
            return violation(
                ErrorCode::PROTOCOL,
                format!("channel {id} was opened out of order"),
            );
        }
        if self.remote.opened >= self.remote.advertised {
            return violation(ErrorCode::LIMIT, "more channels than were allowed");
        }
        self.remote.next += 2;
        self.remote.opened += 1;
        Ok(())
    }

    /// The same in version 0, where any number may come; whether there is room.
    pub fn on_peer_open_v0(&mut self) -> bool {
        let room = self.remote.opened < self.remote.limit;
        self.remote.opened += u32::from(room);
        room
    }

    /// The application accepts a channel.
    pub fn on_accept(&mut self, channel: &mut Channel) {
        if channel.usage == Usage::Offered {
            channel.usage = Usage::Accepted;
            self.unused += 1;
        }
        self.note_accepted(channel);
    }

    /// The application uses a channel.
    pub fn on_use(&mut self, channel: &mut Channel) {
        match channel.usage {
            Usage::Used => return, // nearly always
            // Its key came with an event. What was done with it must not be done twice.
            Usage::Offered => self.note_accepted(channel),
            _ => self.unused -= usize::from(!channel.is_ours()),
        }
        channel.usage = Usage::Used;
    }

    fn note_accepted(&mut self, channel: &Channel) {
        self.last_accepted = self.last_accepted.max(channel.id);
    }

    /// The application writes to a channel or finishes it. Where that fails it has still
    /// dealt with a channel of the peer's, but may as well not have opened its own.
    pub fn on_try(&mut self, channel: &mut Channel) {
        if channel.send.half == Half::Open || !channel.is_ours() {
            self.on_use(channel);
        }
    }

    /// The application is about to release a channel.
    pub fn before_release(&mut self, channel: &Channel) {
        self.unused -= usize::from(channel.is_accepted_unused());
    }

    /// A channel was released, and is not closed.
    pub fn on_release(&mut self, channel: &Channel) {
        self.unsent += channel.send.buffer.len();
        self.awaiting_end += usize::from(channel.is_ours());
    }

    /// Of what released channels had still to send, so much was sent or dropped.
    pub fn on_unsent_gone(&mut self, bytes: usize) {
        self.unsent -= bytes;
    }

    /// Whether the peer ends released channels too slowly, where it said that it takes
    /// so many at a time.
    pub fn has_too_many_awaiting_end(&self, taken: u32) -> bool {
        self.awaiting_end > MOST_AWAITING_END + taken.min(MOST_TAKEN) as usize
    }

    /// A channel is closed.
    pub fn on_closed(&mut self, channel: &Channel) {
        let ours = channel.is_ours();
        self.awaiting_end -= usize::from(ours);
        match (ours, self.reuses_ids) {
            (true, true) => self.local.opened -= 1,
            (true, false) => {}
            (false, true) => self.remote.opened -= 1,
            (false, false) => self.remote.limit = (self.remote.limit + 1).min(LAST_ID),
        }
    }

    /// The peer takes so many channels, where that is more than before.
    pub fn on_max_channels(&mut self, count: u32) {
        self.local.limit = self.local.limit.max(count);
    }

    /// Whether an honest peer that takes so many channels at a time sends this count.
    pub fn is_news(&self, count: u32, taken: u32) -> bool {
        count > self.local.limit && count <= taken.saturating_add(self.local.opened)
    }

    /// Whether the peer may soon open no more channels.
    pub fn is_peer_short(&self) -> bool {
        self.remote.advertised.saturating_sub(self.remote.opened) < self.some
    }

    /// Whether the peer is to be told that it may open more.
    pub fn is_limit_due(&self) -> bool {
        // In steps of a quarter: one for each channel that closes would be a frame more for
        // each request.
        let more = self.remote.limit - self.remote.advertised;
        more >= self.some || more > 0 && self.is_peer_short()
    }

    /// What the MAX_CHANNELS that leaves says.
    pub fn advertise_limit(&mut self) -> u32 {
        self.remote.advertised = self.remote.limit;
        self.remote.limit
    }

    /// As if each side had opened channels, and all were closed, until so many numbers
    /// are left to it.
    #[cfg(test)]
    pub fn skip_to_last(&mut self, left: u32) {
        for ids in [&mut self.local, &mut self.remote] {
            let skipped = (1 << 30) - left - ids.next / 2;
            ids.next += 2 * skipped;
            for count in [&mut ids.opened, &mut ids.limit, &mut ids.advertised] {
                *count += skipped;
            }
        }
    }
}
