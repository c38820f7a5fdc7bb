use std::collections::VecDeque;
use std::time::Instant;

use super::buffer::FreeList;
use super::channel::{Channel, Origin};
use super::config::Config;
use super::counts::Counts;
use super::error::ConnectionError;
use super::event::{Event, Events};
use super::handshake::{Handshake, Role};
use super::input::Input;
use super::keepalive::Keepalive;
use super::key::Key;
use super::memory::Memory;
use super::pending::Pending;
use super::queues::{Queue, sweep};
use super::rate_limit::RateLimits;
use super::recv_budget::{RecvBudget, RecvCredit};
use super::scheduler::Scheduler;
use super::send_budget::SendBudget;
use super::shutdown::Shutdown;
use super::slow_peer::SlowPeers;
use super::stats::Stats;
use super::store::Store;
use crate::wire::{Settings, Version};

/// One connection; see the [module](super).
#[derive(Debug)]
pub struct Connection {
    pub(super) config: Config,
    pub(super) handshake: Handshake,
    pub(super) input: Input,
    pub(super) keepalive: Keepalive,
    pub(super) limits: RateLimits,
    pub(super) channels: Store,
    pub(super) counts: Counts,
    pub(super) free_list: FreeList,
    pub(super) memory: Memory,
    pub(super) send_budget: SendBudget,
    pub(super) recv_budget: RecvBudget,
    pub(super) scheduler: Scheduler,
    pub(super) pending: Pending,
    /// Released channels whose STOP is deferred, the first of them first. Some may be closed.
    pub(super) deferred_stops: VecDeque<Key>,
    pub(super) events: Events,
    pub(super) shutdown: Shutdown,
    pub(super) slow_peers: SlowPeers,
    pub(super) stats: Stats,
}

impl Connection {
    /// A connection over a transport that is up at `now`.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let (mine, assumed) = (&config.settings, Settings::default());
        Connection {
            handshake: Handshake::new(role, config.protocol),
            input: Input::new(role, config.protocol),
            keepalive: Keepalive::new(&config, now),
            limits: RateLimits::new(&config, now),
            channels: Store::default(),
            counts: Counts::new(role, &config),
            free_list: FreeList::default(),
            memory: Memory::default(),
            send_budget: SendBudget::new(assumed.initial_window.into(), assumed.receive_budget),
            recv_budget: RecvBudget::new(mine.initial_window.into(), mine.receive_budget),
            scheduler: Scheduler::default(),
            pending: Pending::default(),
            deferred_stops: VecDeque::new(),
            events: Events::default(),
            shutdown: Shutdown::default(),
            slow_peers: SlowPeers::default(),
            stats: Stats::new(now),
            config,
        }
    }

    /// The version that both sides speak, once it is known.
    pub fn version(&self) -> Option<Version> {
        self.handshake.version()
    }

    /// Why the connection ended, if it has.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.shutdown.error.as_ref()
    }

    /// Channels that are not closed.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether the transport should be read. Not while there is
    /// [no memory](Self::limit_memory) for what may come, or a version 0 peer, which knows
    /// no flow control, has sent more than the application reads.
    pub fn wants_input(&self) -> bool {
        self.has_room_to_receive() && !self.is_out_of_memory()
    }

    /// Whether that is so, if there is memory.
    pub(crate) fn has_room_to_receive(&self) -> bool {
        !self.is_v0() || self.stats.buffered < self.config.settings.receive_budget.max(1)
    }

    /// Whether the peer has said its hello.
    pub fn is_connected(&self) -> bool {
        self.handshake.is_complete()
    }

    /// The first bytes of the peer, up to four: what it speaks if it says no hello.
    #[cfg(feature = "client")]
    pub(crate) fn first_bytes(&self) -> &[u8] {
        self.input.first.get()
    }

    /// The next event.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
    /// assert!(events.contains(&Event::Connected) && events.contains(&Event::Readable(there)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop();
        let polled = match event {
            Some(Event::Readable(key)) => Some((key, Queue::Readable)),
            Some(Event::Writable(key)) => Some((key, Queue::Writable)),
            _ => None,
        };
        if let Some((key, queue)) = polled
            && let Some(channel) = self.channels.get_mut(key)
        {
            channel.queues.remove(queue);
        }
        event
    }

    /// Whether [`poll_event`](Self::poll_event) has one.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// What the connection has done and how it is.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let stats = client.stats();
    /// assert_eq!((stats.opened, stats.channels), (1, 1));
    /// assert_eq!(stats.bytes_sent, server.stats().bytes_received);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Stats {
        let id = match self.handshake.role {
            Role::Client => self.config.settings.connection_id,
            Role::Server => self.handshake.peer.connection_id,
        };
        Stats {
            connection_id: (id != 0 && !self.is_v0()).then_some(id),
            heard: self.keepalive.heard,
            version: self.version(),
            rtt: self.keepalive.rtt,
            min_rtt: self.keepalive.min_rtt(),
            suspect: self.keepalive.is_suspect(),
            draining: !self.is_open(),
            channels: self.channels.len(),
            awaiting_end: self.counts.awaiting_end,
            waiting: self.channels.incoming.len(),
            available: match self.memory.is_short {
                true => 0,
                false => self.counts.room(),
            },
            memory: self.memory(),
            no_op_frames: self.limits.no_ops.taken,
            budget_left: self.recv_budget.left(),
            ..self.stats
        }
    }

    pub(super) fn is_v0(&self) -> bool {
        self.handshake.is_v0()
    }

    /// Tells a channel's reader to look, once until the event is polled; and a writer
    /// that the peer has stopped, which may wait for what is read.
    pub(super) fn notify_readable(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if channel.queues.insert(Queue::Readable) {
            self.events.push(Event::Readable(key));
        }
        if channel.send.stopped {
            self.notify_writable(key);
        }
    }

    /// Tells a channel's writer to look, once until the event is polled.
    pub(super) fn notify_writable(&mut self, key: Key) {
        if let Some(channel) = self.channels.get_mut(key)
            && channel.queues.insert(Queue::Writable)
        {
            self.events.push(Event::Writable(key));
        }
    }

    /// Changes what bounds the channels of this side, and tells of room for another if
    /// there was none.
    pub(super) fn make_room(&mut self, change: impl FnOnce(&mut Counts)) {
        let full = self.counts.room() == 0;
        change(&mut self.counts);
        if full && self.counts.room() > 0 {
            self.events.push(Event::Openable);
        }
    }

    /// A channel that begins, with the credit of both directions. Version 0 knows no
    /// limits.
    pub(super) fn begin(&self, id: u32, origin: Origin) -> Channel {
        let (send, recv) = match self.is_v0() {
            true => (u64::MAX, RecvCredit::new(u64::MAX)),
            false => (self.send_budget.window(), self.recv_budget.credit()),
        };
        Channel::new(id, origin, send, recv)
    }

    /// Forgets a channel that is closed, and lets the peer open another for it.
    pub(super) fn forget_if_closed(&mut self, key: Key) {
        if !self.channels.get(key).is_some_and(Channel::is_closed) {
            return;
        }
        let Some(channel) = self.channels.remove(key) else {
            return;
        };
        self.memory.forget(&channel);
        self.sweep(&channel);
        let crossing_windows = self.send_budget.crossing_windows(&channel.send.credit);
        self.limits.on_closed(crossing_windows);
        self.make_room(|counts| counts.on_closed(&channel));
    }

    /// A channel is closed. It may be in any queue but two: one whose OPEN has not left,
    /// or that was not accepted, can't be closed. The deferred stops have a bound of their
    /// own. From the others nothing else may ever be taken: the peer may read nothing, or
    /// have so much reset that no bytes get a turn.
    fn sweep(&mut self, gone: &Channel) {
        let (living, store) = (self.channels.len(), &self.channels);
        let lives = |key: &Key| store.get(*key).is_some();
        let is_in = |queue| gone.queues.has(queue);
        if is_in(Queue::Control) {
            sweep(&mut self.pending.control, living, lives);
        }
        if is_in(Queue::Data) {
            self.scheduler.sweep(living, lives);
        }
        if is_in(Queue::Budget) {
            sweep(&mut self.send_budget.waiting, living, lives);
        }
        if is_in(Queue::Window) {
            sweep(&mut self.recv_budget.delayed, living, lives);
        }
        if is_in(Queue::Readable) || is_in(Queue::Writable) {
            self.events.sweep(living, lives);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OpenError, Read};
    use super::*;

    fn exchange(sides: &mut [Connection; 2], now: Instant) {
        for (from, to) in [(0, 1), (1, 0), (0, 1)] {
            let mut bytes = Vec::new();
            while sides[from].poll_transmit(&mut bytes, usize::MAX, now) > 0 {}
            sides[to].handle_input(&bytes, now);
        }
    }

    /// Only billions of channels reach it. Neither side says anything that the other takes
    /// for a violation.
    #[test]
    fn the_last_number_opens_a_channel_and_then_the_connection_takes_no_more() {
        let now = Instant::now();
        let mut sides =
            [Role::Client, Role::Server].map(|role| Connection::new(role, Config::default(), now));
        exchange(&mut sides, now);
        for side in &mut sides {
            side.counts.skip_to_last(2);
        }
        for (opener, last) in [(0, i32::MAX as u32), (1, i32::MAX as u32 - 1)] {
            for (left, id) in [(2, last - 2), (1, last)] {
                assert_eq!(sides[opener].stats().available, left);
                assert!(sides[opener].is_open());
                let near = sides[opener].open().unwrap();
                assert_eq!(sides[opener].id(near), Some(id));
                sides[opener].write(near, b"?").unwrap();
                sides[opener].finish(near).unwrap();
                exchange(&mut sides, now);
                let far = sides[1 - opener].accept().unwrap();
                let (mut byte, far_side) = ([0], &mut sides[1 - opener]);
                assert_eq!(far_side.read(far, &mut byte), Ok(Read::Bytes(1)));
                far_side.finish(far).unwrap();
                far_side.release(far);
                exchange(&mut sides, now);
                sides[opener].release(near);
            }
            let events: Vec<_> = std::iter::from_fn(|| sides[opener].poll_event()).collect();
            assert!(events.contains(&Event::Openable), "who waits for room");
            assert_eq!(sides[opener].stats().available, 0);
            assert!(!sides[opener].is_open());
            assert_eq!(sides[opener].open(), Err(OpenError::Draining));
        }
        exchange(&mut sides, now);
        assert!(sides.iter().all(|side| side.error().is_none()));
        assert!(sides.iter().all(|side| side.channels() == 0));
    }

    /// The count of channels that may be opened does not forbid it: it goes up to 2^31 - 1,
    /// and a side has half as many numbers.
    #[test]
    fn a_number_behind_the_last_is_a_violation() {
        let now = Instant::now();
        let mut sides =
            [Role::Client, Role::Server].map(|role| Connection::new(role, Config::default(), now));
        exchange(&mut sides, now);
        let server = &mut sides[1];
        server.counts.skip_to_last(1);
        let open = |id: u32| [&[1, 3][..], &id.to_be_bytes()].concat();
        server.handle_input(&open(i32::MAX as u32), now);
        assert_eq!(server.error(), None);
        server.handle_input(&open(i32::MAX as u32 + 2), now);
        let error = server.error().unwrap().to_string();
        assert!(error.contains("out of order"), "{error}");
    }
}
