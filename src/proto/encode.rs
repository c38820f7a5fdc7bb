//! The frames of one channel.

use super::buffer::FreeList;
use super::channel::{Channel, End, Stop};
use super::half::Half;
use super::send_budget::SendBudget;
use crate::wire::{Control, Frame, MAX_DATA, Version, data_header};

/// A channel's pending control frames.
pub(super) fn put_control(
    channel: &mut Channel,
    budget: &mut SendBudget,
    version: Version,
    out: &mut Vec<u8>,
) {
    let id = channel.id;
    let mut put = |control| Frame::Control(control).encode(version, out);
    if std::mem::take(&mut channel.recv.window_pending) {
        let (limit, loan) = channel.recv.credit.advertised();
        put(Control::Window {
            channel: id,
            limit,
            loan,
        });
    }
    if channel.recv.stop == Stop::Pending {
        channel.recv.stop = Stop::No;
        let code = channel.recv.half.code();
        put(Control::Stop { channel: id, code });
    }
    if channel.send.end == End::ResetPending {
        let code = channel.send.half.code();
        let debt = budget.on_end(&channel.send.credit);
        channel.send.end = End::Sent;
        put(Control::Reset {
            channel: id,
            code,
            debt,
        });
    }
    close(channel, version, out);
}

/// Version 0: only once everything has left.
fn close(channel: &mut Channel, version: Version, out: &mut Vec<u8>) {
    if channel.send.end == End::ClosePending && !channel.send.half.is_alive() {
        channel.send.end = End::Sent;
        let channel = channel.id;
        Frame::Control(Control::Close { channel }).encode(version, out);
    }
}

/// A data frame as large as the buffer, the credit, the channel's turn and `room`
/// allow; of how many bytes.
pub(super) fn next_frame(
    channel: &mut Channel,
    budget: &mut SendBudget,
    version: Version,
    room: usize,
    free_list: &mut FreeList,
    out: &mut Vec<u8>,
) -> usize {
    let most = MAX_DATA.min(room).min(channel.share.turn()) as u64;
    let waiting = channel.send.buffer.len() as u64;
    let n = budget.room(&channel.send.credit, waiting).min(most) as usize;
    if n == 0 {
        return 0;
    }
    data_header(version, out, channel.id, n);
    let append = |bytes: &[u8]| out.extend_from_slice(bytes);
    channel.send.buffer.take(n, free_list, append);
    budget.spend(&mut channel.send.credit, n as u64);
    n
}

/// The end of the send half behind its bytes; version 0 says it by a CLOSE,
/// once the receive half is closed too.
pub(super) fn end(
    channel: &mut Channel,
    budget: &mut SendBudget,
    version: Version,
    out: &mut Vec<u8>,
) {
    let half = std::mem::replace(&mut channel.send.half, Half::Done);
    if version == Version::V0 {
        return close(channel, version, out);
    }
    channel.send.end = End::Sent;
    let (channel, debt) = (channel.id, budget.on_end(&channel.send.credit));
    let end = match half {
        Half::ResetAfterFlush(code) => Control::Reset {
            channel,
            code,
            debt,
        },
        _ => Control::Fin { channel, debt },
    };
    Frame::Control(end).encode(version, out);
}
