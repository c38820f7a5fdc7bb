use std::time::Duration;

use super::channel::Channel;
use super::endpoint::{Endpoint, MINE};
use crate::frame::{Frame, Settings};
use crate::judge::Seen;

/// What it says by itself.
impl Endpoint {
    /// Everything that the channels have to say.
    pub(super) fn work(&mut self) {
        let Some(theirs) = self.theirs else {
            return;
        };
        let all: Vec<u32> = self.channels.keys().copied().collect();
        for channel in all {
            self.work_on(channel, theirs);
        }
        self.give_channels();
        if self.returned >= self.told + Seen::least_return(MINE) && !self.has("no RETURN") {
            self.told = self.returned;
            let more = u64::from(self.has("returns too much"));
            self.say(&Frame::Return(self.told + more));
        }
    }

    fn work_on(&mut self, number: u32, theirs: Settings) {
        self.read(number);
        self.send(number, theirs);
        self.end(number);
        let of = self.channels.get(&number);
        if of.is_some_and(|of| of.is_closed() && of.unpaid == 0) {
            let gone = self.channels.remove(&number);
            self.closed += u32::from(gone.is_some_and(|of| !of.ours));
        }
    }

    /// Reads, and gives back the credit for that.
    fn read(&mut self, number: u32) {
        let (faults, coming) = (self.faults.clone(), self.coming(number));
        let late = faults.has("late windows") && self.started.elapsed() < Duration::from_secs(1);
        let Some(of) = self.channels.get_mut(&number) else {
            return;
        };
        of.read();
        let paid = of.payable(MINE);
        of.unpaid -= paid;
        self.returned += paid;
        if let Some(limit) = of.window(MINE, coming, &faults).filter(|_| !late) {
            of.said = limit;
            self.say(&Frame::Window(number, limit, 2 << 20));
        }
    }

    fn send(&mut self, number: u32, theirs: Settings) {
        let faults = self.faults.clone();
        let living = self.channels.values().filter(|of| !of.over);
        let debts = living.map(Channel::debt).sum::<u64>() + self.owed - self.paid;
        let free = match faults.has("borrows too much") {
            true => u64::MAX,
            false => theirs.budget.saturating_sub(debts),
        };
        let Some(of) = self.channels.get_mut(&number).filter(|of| !of.over) else {
            return;
        };
        let room = of.room(free, &faults);
        let mut bytes: Vec<u8> = of.queue.drain(..room).collect();
        of.sent += bytes.len() as u64;
        if faults.has("changes bytes") {
            bytes.fill(b'?');
        }
        for body in bytes.chunks(16_384) {
            self.say(&Frame::Data(number, body.to_vec()));
        }
    }

    /// Ends its own direction behind the echo, and asks the peer to end the other where
    /// nothing of that can be echoed any more.
    fn end(&mut self, number: u32) {
        let resets = !self.has("ignores RESET");
        let Some(of) = self.channels.get_mut(&number) else {
            return;
        };
        match of.ended {
            Some(true) if !of.over && of.queue.is_empty() && of.unread.is_empty() => {
                of.over = true;
                let debt = of.debt();
                self.owed += debt;
                self.finish_with(number, debt);
            }
            Some(false) if !of.over && resets => self.reset(number, 0),
            None if of.stopped && !of.stops => {
                of.stops = true;
                self.say(&Frame::Stop(number, 0));
                if self.has("stops twice") {
                    self.say(&Frame::Stop(number, 0));
                }
            }
            _ => {}
        }
    }

    fn finish_with(&mut self, number: u32, debt: u64) {
        if !self.has("no FIN") {
            self.say(&Frame::Fin(number, debt));
        }
        if self.has("ends twice") {
            self.say(&Frame::Reset(number, 0, debt));
        }
        if self.has("DATA behind the FIN") {
            self.say(&Frame::Data(number, vec![0]));
        }
    }

    /// Bytes of a DATA frame that have not come.
    fn coming(&self, number: u32) -> u64 {
        match self.input.get(..8) {
            Some(header) if header[1] == 5 && header[2..6] == number.to_be_bytes() => 16_384,
            _ => 0,
        }
    }

    fn give_channels(&mut self) {
        let may = MINE.channels + self.closed;
        let (more, quarter) = (may - self.count, MINE.channels / 4);
        let short = self.count.saturating_sub(self.opened) < quarter;
        if (more >= quarter || more > 0 && short) && !self.has("no MAX_CHANNELS") {
            self.count = may;
            let count = match () {
                () if self.has("high counts") => may + 1,
                () if self.has("low counts") => MINE.channels,
                () => may,
            };
            self.say(&Frame::MaxChannels(count));
        }
    }
}
