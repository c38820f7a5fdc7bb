//! From what is owed to bytes.

use std::time::Instant;

use super::channel::Half;
use super::scheduler::QUANTUM;
use super::{Connection, Role};
use crate::wire::{Control, Frame, MAX_DATA, data_header};

impl Connection {
    /// Appends frames to `out` until it is `budget` bytes longer or nothing is
    /// left, and says how many bytes were appended. The last frame may go over
    /// by a frame's size.
    ///
    /// Once it has appended bytes they must reach the peer, in this order.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>, budget: usize, now: Instant) -> usize {
        let start = out.len();
        if let Some(go_away) = self.owed.go_away.take() {
            self.hello(out);
            put(out, go_away);
        }
        if self.end.is_some() {
            return out.len() - start;
        }
        if self.role == Role::Client || self.hello.received {
            self.hello(out);
            self.connection_control(out, now);
            self.opens(out, start + budget);
            self.channel_control(out, start + budget);
            self.data(out, start + budget);
        }
        out.len() - start
    }

    /// W2, W3.
    fn hello(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.hello.sent, true) {
            return;
        }
        let magic = self.config.magic;
        put(
            out,
            match self.role {
                Role::Client => Control::Hello { magic },
                Role::Server => Control::HelloReply { magic },
            },
        );
        let body = self.config.settings.encode();
        put(out, Control::Settings { body });
    }

    fn connection_control(&mut self, out: &mut Vec<u8>, now: Instant) {
        if let Some(token) = self.owed.pong.take() {
            put(out, Control::Pong { token });
        }
        if std::mem::take(&mut self.owed.ping) {
            let token = self.liveness.ping(now);
            put(out, Control::Ping { token });
        }
        if std::mem::take(&mut self.owed.max_channels) {
            let count = self.remote.limit;
            put(out, Control::MaxChannels { count });
        }
        if std::mem::take(&mut self.owed.drain) {
            put(out, Control::Drain);
        }
    }

    fn opens(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && let Some(channel) = self.owed.opens.pop_front()
        {
            put(out, Control::Open { channel });
        }
    }

    /// Opens come first: a channel's other frames must not overtake its OPEN.
    fn channel_control(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && self.owed.opens.is_empty()
            && let Some(channel) = self.owed.control.pop_front()
        {
            let Some(state) = self.channels.get_mut(&channel) else {
                continue;
            };
            state.queued_control = false;
            if std::mem::take(&mut state.owed.window) {
                let limit = state.recv.credit.limit();
                put(out, Control::Window { channel, limit });
            }
            if let Some(code) = state.owed.stop.take() {
                put(out, Control::Stop { channel, code });
            }
            if let Some(code) = state.owed.reset.take() {
                put(out, Control::Reset { channel, code });
            }
            self.forget_if_over(channel);
        }
    }

    fn data(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && self.owed.opens.is_empty()
            && let Some(id) = self.scheduler.next()
        {
            self.channel_data(id, out);
        }
    }

    /// One frame of a channel, and FIN if that was the last.
    fn channel_data(&mut self, id: u32, out: &mut Vec<u8>) {
        let Some(state) = self.channels.get_mut(&id) else {
            return;
        };
        state.queued_data = false;
        if state.deficit == 0 {
            state.deficit = QUANTUM;
        }
        let credit = state.send.limit.saturating_sub(state.send.sent);
        let most = MAX_DATA.min(state.deficit) as u64;
        let n = credit.min(most).min(state.send.buffer.len() as u64) as usize;
        let full = state.send.buffer.len() >= self.config.send_buffer;
        if n > 0 {
            data_header(out, id, n);
            let (a, b) = state.send.buffer.as_slices();
            let first = n.min(a.len());
            out.extend_from_slice(&a[..first]);
            out.extend_from_slice(&b[..n - first]);
            state.send.buffer.drain(..n);
            state.send.sent += n as u64;
            state.deficit -= n;
        }
        if state.send.half == Half::Ending && state.send.buffer.is_empty() {
            state.send.half = Half::Done;
            put(out, Control::Fin { channel: id });
        }
        let more = state.can_send();
        if more {
            state.queued_data = true;
            match state.deficit {
                0 => self.scheduler.requeue(id),
                _ => self.scheduler.resume(id),
            }
        }
        if full && n > 0 {
            self.notify_writable(id);
        }
        self.forget_if_over(id);
    }
}

fn put(out: &mut Vec<u8>, control: Control) {
    Frame::Control(control).encode(out);
}
