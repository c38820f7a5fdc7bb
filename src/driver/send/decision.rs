//! When bytes leave: one decision from all that is known.
//!
//! The task asks it three times: before it takes frames from the core, after it has
//! encoded them, and after each write.

use std::time::Instant;

/// Encoded bytes that are not held back: 16 KiB are eleven packets, and only the last of
/// them may be partly empty.
const ENOUGH: usize = 16 * 1024;

/// What is known when bytes might leave.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// No frame was taken from the core since the last write.
    Pending {
        /// The transport has failed.
        broken: bool,
        /// The core has frames to send.
        frames: bool,
        /// The task has yielded since the last write.
        yielded: bool,
        /// The transport has nothing to do besides: no bytes, no deadline, no new sample.
        idle: bool,
    },
    /// The frames that may leave now were encoded.
    Encoded {
        /// Bytes that the transport has not taken.
        bytes: usize,
        /// The transport took some that were encoded with them.
        started: bool,
        /// It took all before, and has to be flushed.
        unflushed: bool,
        /// When the coalescing window ends.
        window_ends: Option<Instant>,
        /// When the link is due more of what is left in the core.
        paced_until: Option<Instant>,
        now: Instant,
    },
    /// The transport was written to.
    Written {
        /// It took less than all.
        blocked: bool,
        /// A whole write quantum had been encoded.
        quantum: bool,
        /// Writers were woken, because the core has room for their bytes again.
        woke_writers: bool,
        /// Nothing is left.
        all: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Encode and write now.
    Write,
    /// Let other tasks run first, so that their frames share the system call. Once is
    /// enough: each task that is ready runs.
    ///
    /// Measured (`benches/README.md`): when each writer wrote to the transport itself, an echo
    /// on one stream took 4 % less processor time, and an echo on 64 streams 70 % more.
    Yield,
    /// Write at this time, or when something else happens.
    WaitUntil(Instant, Reason),
    /// There is nothing to write, or the transport wakes the task when it takes more.
    Leave,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Bytes that share a packet with these.
    Coalescing,
    /// The link, which has not delivered what was sent.
    Pacing,
}

pub fn decide(known: Known) -> Decision {
    match known {
        Known::Pending { broken: true, .. } => Decision::Leave,
        Known::Pending {
            frames: true,
            yielded: false,
            ..
        } => Decision::Yield,
        Known::Pending {
            frames: false,
            idle: true,
            ..
        } => Decision::Leave,
        Known::Pending { .. } => Decision::Write,

        Known::Encoded {
            bytes: 0,
            unflushed: false,
            paced_until,
            ..
        } => match paced_until {
            Some(until) => Decision::WaitUntil(until, Reason::Pacing),
            None => Decision::Leave,
        },
        Known::Encoded {
            bytes: 1..ENOUGH,
            // The rest of a write must not wait: its packets are on their way.
            started: false,
            window_ends: Some(end),
            now,
            ..
        } if now < end => Decision::WaitUntil(end, Reason::Coalescing),
        Known::Encoded { .. } => Decision::Write,

        Known::Written { blocked: true, .. } => Decision::Leave,
        // What the writers add goes with the rest, which may be small.
        Known::Written {
            quantum: true,
            woke_writers: true,
            ..
        } => Decision::Yield,
        Known::Written { all: true, .. } => Decision::Leave,
        Known::Written { .. } => Decision::Write,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Decision::*;
    use super::*;

    const BROKEN: (bool, bool) = (true, true);
    const FRAMES: (bool, bool) = (false, true);
    const NOTHING: (bool, bool) = (false, false);

    const WHOLE: (bool, bool) = (false, false);
    const STARTED: (bool, bool) = (true, true);
    const UNFLUSHED: (bool, bool) = (false, true);

    #[test]
    fn frames_wait_once_for_those_of_other_tasks() {
        for ((broken, frames), yielded, idle, expected) in [
            // What, whether the task has yielded, whether the transport is idle.
            (FRAMES, false, true, Yield),
            (FRAMES, false, false, Yield),
            (FRAMES, true, true, Write),
            (NOTHING, false, true, Leave),
            (NOTHING, false, false, Write),
            (BROKEN, false, false, Leave),
            (BROKEN, true, true, Leave),
        ] {
            let known = Known::Pending {
                broken,
                frames,
                yielded,
                idle,
            };
            assert_eq!(decide(known), expected, "{known:?}");
        }
    }

    #[test]
    fn few_bytes_wait_in_the_window_and_the_core_for_the_link() {
        let now = Instant::now();
        let soon = now + Duration::from_millis(1);
        let coalesce = WaitUntil(soon, Reason::Coalescing);
        let pace = WaitUntil(soon, Reason::Pacing);
        for (bytes, (started, unflushed), window_ends, paced_until, expected) in [
            (0, WHOLE, None, None, Leave),
            (0, WHOLE, Some(soon), None, Leave),
            (0, WHOLE, None, Some(soon), pace),
            (0, WHOLE, Some(soon), Some(soon), pace),
            (0, UNFLUSHED, Some(soon), Some(soon), Write),
            (1, WHOLE, None, None, Write),
            (1, WHOLE, Some(soon), None, coalesce),
            (1, UNFLUSHED, Some(soon), None, coalesce),
            (1, WHOLE, Some(now), None, Write),
            (1, STARTED, Some(soon), None, Write),
            (1, WHOLE, None, Some(soon), Write),
            (ENOUGH - 1, WHOLE, Some(soon), None, coalesce),
            (ENOUGH, WHOLE, Some(soon), None, Write),
        ] {
            let known = Known::Encoded {
                bytes,
                started,
                unflushed,
                window_ends,
                paced_until,
                now,
            };
            assert_eq!(decide(known), expected, "{known:?}");
        }
    }

    #[test]
    fn a_write_quantum_that_made_room_lets_the_writers_run() {
        for (blocked, quantum, woke_writers, all, expected) in [
            (true, true, true, false, Leave),
            (true, false, false, false, Leave),
            (false, true, true, false, Yield),
            (false, true, true, true, Yield),
            (false, true, false, false, Write),
            (false, false, true, false, Write),
            (false, false, false, false, Write),
            (false, false, true, true, Leave),
            (false, false, false, true, Leave),
        ] {
            let known = Known::Written {
                blocked,
                quantum,
                woke_writers,
                all,
            };
            assert_eq!(decide(known), expected, "{known:?}");
        }
    }
}
