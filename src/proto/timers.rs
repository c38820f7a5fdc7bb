//! What the connection does with the time.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::error::{ConnectionError, ErrorCode};
use super::event::Event;
use super::keepalive::{DeliverySample, Due};
use super::queues::Queue;

impl Connection {
    /// The transport took bytes again after it had been write-blocked, so the peer's
    /// side is alive though it may say nothing.
    pub fn handle_progress(&mut self, now: Instant) {
        self.keepalive.on_progress();
        self.heard(now);
    }

    /// The transport is write-blocked: it takes no more bytes for now. A peer that makes
    /// it stay so for [`Config::write_stall`](super::Config::write_stall) is given up,
    /// though it may say a lot. Calling it again changes nothing.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.handle_blocked(now);
    /// let mut later = now;
    /// while client.error().is_none() {
    ///     later = client.poll_timeout().ok_or("it lives")?;
    ///     server.write(there, b"hello")?; // it still sends, and reads nothing
    ///     let mut bytes = Vec::new();
    ///     server.poll_transmit(&mut bytes, 64 << 10, later);
    ///     client.handle_input(&bytes, later);
    ///     client.handle_timeout(later);
    /// }
    /// assert_eq!(later, now + Duration::from_secs(30)); // Config::write_stall
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_blocked(&mut self, now: Instant) {
        self.keepalive.on_blocked(now);
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.begin_looks(now);
        if self.keepalive.on_life(now) {
            self.events.push(Event::Recovered);
        }
    }

    /// Does what is due at `now`; too early is harmless.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let at = client.poll_timeout().ok_or("it lives")?;
    /// client.handle_timeout(at);
    /// assert!(client.wants_transmit()); // a ping
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none() {
            return;
        }
        if self.recv_budget.due().is_some_and(|due| due <= now) {
            self.give_delayed_windows();
        }
        if self.slow_peers.due().is_some_and(|due| due <= now) {
            self.look_for_slow_peers(now);
        }
        match self.keepalive.due(&self.config, now) {
            Due::Nothing => {}
            Due::Ping => self.free_list.clear(), // nothing has come for a while
            Due::Suspect => self.events.push(Event::Suspect),
            Due::HandshakeTimeout => self.fail(ConnectionError::HandshakeTimeout),
            Due::Dead => self.fail(ConnectionError::Dead),
            Due::OutOfMemory => self.out_of_memory(),
            Due::Stalled => self.violated(ErrorCode::LIMIT, "the peer reads nothing"),
        }
    }

    /// Gives the WINDOWs that have waited for more to be read.
    fn give_delayed_windows(&mut self) {
        for key in self.recv_budget.take_delayed() {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.queues.remove(Queue::Window);
            }
            self.pay(key);
        }
    }

    /// Begins to look for slow peers if there are channels.
    #[inline]
    pub(super) fn begin_looks(&mut self, now: Instant) {
        if let Some(rate) = self.config.min_rate
            && self.channels.len() > 0
        {
            self.slow_peers.begin(rate, now);
        }
    }

    fn look_for_slow_peers(&mut self, now: Instant) {
        let Some(rate) = self.config.min_rate else {
            return;
        };
        let (blocked, sent) = (self.keepalive.is_blocked(), self.stats.bytes_sent);
        if self.slow_peers.is_link_too_slow(rate, blocked, sent, now) {
            return self.violated(ErrorCode::LIMIT, "the peer reads too slowly");
        }
        let places = self.channels.places();
        let channels = (self.channels.iter_mut(), places);
        let rate = (rate, &self.send_budget);
        for key in self.slow_peers.look(channels, rate, blocked, now) {
            self.give_up_slow(key);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Version 0 has no ping, so nothing is due once the hello has come.
        let done = self.shutdown.has_ended() || self.is_v0() && self.is_connected();
        let due = (!done).then(|| self.keepalive.deadline(&self.config))?;
        let others = [self.recv_budget.due(), self.slow_peers.due()];
        others.into_iter().flatten().chain([due]).min()
    }

    /// The shortest round-trip time of the last ten to twenty seconds, as in
    /// [`Stats::min_rtt`](super::Stats::min_rtt); zero with version 0, which can't measure
    /// it.
    pub fn min_rtt(&self) -> Option<Duration> {
        match self.is_v0() {
            true => Some(Duration::ZERO),
            false => self.keepalive.min_rtt(),
        }
    }

    /// The shortest round-trip time that was measured, unless the peer is late with an answer.
    #[cfg(feature = "requests")]
    pub(crate) fn rtt_if_answering(&self) -> Option<Duration> {
        let answers = !self.keepalive.is_suspect();
        answers.then(|| self.keepalive.min_rtt()).flatten()
    }

    /// Asks the peer for an answer soon, unless it was asked already, so that
    /// [`delivery_sample`](Self::delivery_sample) tells how what is sent now fares.
    pub fn probe(&mut self, now: Instant) {
        if !self.is_v0() {
            self.keepalive.probe(now);
        }
    }

    /// The last answer of the peer to a ping, and what was sent before that.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.probe(now);
    /// carry(&mut client, &mut server, now);
    /// let sample = client.delivery_sample().ok_or("it was answered")?;
    /// assert_eq!(sample.answered, now);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivery_sample(&self) -> Option<DeliverySample> {
        self.keepalive.sample
    }
}
