//! What a configuration says.

use std::time::Duration;

use super::Config;
use crate::wire::Protocol;

/// What is set.
impl Config {
    /// See [`magic`](Self::magic).
    #[must_use]
    pub fn get_magic(&self) -> u32 {
        self.magic
    }

    /// See [`protocol`](Self::protocol).
    #[must_use]
    pub fn get_protocol(&self) -> Protocol {
        self.protocol
    }

    /// See [`connection_id`](Self::connection_id).
    #[must_use]
    pub fn get_connection_id(&self) -> u64 {
        self.settings.connection_id
    }

    /// Bytes; see [`initial_window`](Self::initial_window).
    #[must_use]
    pub fn get_initial_window(&self) -> u32 {
        self.settings.initial_window
    }

    /// See [`max_channels`](Self::max_channels).
    #[must_use]
    pub fn get_max_channels(&self) -> u32 {
        self.settings.max_channels
    }

    /// Bytes; see [`receive_budget`](Self::receive_budget).
    #[must_use]
    pub fn get_receive_budget(&self) -> u64 {
        self.settings.receive_budget
    }

    /// Bytes; see [`send_buffer`](Self::send_buffer).
    #[must_use]
    pub fn get_send_buffer(&self) -> usize {
        self.send_buffer
    }

    /// See [`handshake_timeout`](Self::handshake_timeout).
    #[must_use]
    pub fn get_handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// See [`ping_after`](Self::ping_after).
    #[must_use]
    pub fn get_ping_after(&self) -> Duration {
        self.ping_after
    }

    /// `suspect` and `dead` of [`answer_within`](Self::answer_within).
    #[must_use]
    pub fn get_answer_within(&self) -> (Duration, Duration) {
        (self.suspect_after, self.dead_after)
    }

    /// See [`write_stall`](Self::write_stall).
    #[must_use]
    pub fn get_write_stall(&self) -> Duration {
        self.write_stall
    }

    /// `bytes_per_second` and `period` of [`min_rate`](Self::min_rate), if it is on.
    #[must_use]
    pub fn get_min_rate(&self) -> Option<(u32, Duration)> {
        self.min_rate.map(|rate| (rate.per_second, rate.period))
    }

    /// See [`accept_backlog`](Self::accept_backlog); `None` is the default.
    #[must_use]
    pub fn get_accept_backlog(&self) -> Option<u32> {
        self.accept_backlog
    }

    /// See [`cancels_per_second`](Self::cancels_per_second).
    #[must_use]
    pub fn get_cancels_per_second(&self) -> u32 {
        self.cancels_per_second
    }

    /// See [`pings_per_second`](Self::pings_per_second).
    #[must_use]
    pub fn get_pings_per_second(&self) -> u32 {
        self.pings_per_second
    }

    /// See [`no_op_frames_per_second`](Self::no_op_frames_per_second).
    #[must_use]
    pub fn get_no_op_frames_per_second(&self) -> u32 {
        self.no_op_frames_per_second
    }
}
