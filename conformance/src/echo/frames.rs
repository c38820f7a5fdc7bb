use super::channel::Channel;
use super::endpoint::{End, Endpoint, MINE, Step};
use crate::frame::{Broken, Frame, LEAST, Settings};
use crate::judge::{REFUSED, Seen};
use crate::peer::{MAGIC, Role};

/// What each frame does.
impl Endpoint {
    pub(super) fn order(&self) -> Step {
        self.must("W3.1", 1, self.theirs.is_some())
    }

    pub(super) fn frame(&mut self, frame: Frame) -> Step {
        match frame {
            Frame::Hello(magic) | Frame::HelloReply(magic) => {
                let server = matches!(frame, Frame::Hello(_)) == (self.role == Role::Server);
                self.must("W2.1", 1, server && !self.magic)?;
                if self.role == Role::Server && !self.has("waits for the settings") {
                    self.hello();
                }
                let right = self.must("W2.2", 1, magic == MAGIC);
                self.magic = true;
                return right;
            }
            Frame::Settings(ref body) => return self.settings(body),
            _ => {}
        }
        self.must("W2.1", 1, self.magic)?;
        self.order()?;
        match frame {
            Frame::Open(channel) => self.open(channel),
            Frame::Data(channel, body) => self.data(channel, &body),
            Frame::Window(channel, limit, loan) => self.window(channel, limit, loan),
            Frame::Fin(channel, debt) => self.ended(channel, debt, true),
            Frame::Reset(channel, _, debt) => self.ended(channel, debt, false),
            Frame::Stop(channel, code) => self.stop(channel, code),
            Frame::Ping(token) => self.ping(token),
            Frame::Pong(_) => self.must("-", 1, !self.has("odd PONG is fatal")),
            Frame::MaxChannels(count) => {
                let low = count <= self.theirs.unwrap_or(LEAST).channels;
                self.must("-", 1, !(low && self.has("low counts are fatal")))
            }
            Frame::Drain => {
                self.drains += 1;
                self.must(
                    "-",
                    1,
                    self.drains < 2 || !self.has("a second DRAIN is fatal"),
                )
            }
            Frame::GoAway(..) => Err(End::Silent),
            Frame::Return(total) => self.paid_back(total),
            Frame::Close(_) | Frame::Hello(_) | Frame::HelloReply(_) => Ok(()),
            Frame::Settings(_) => Ok(()),
            Frame::Skipped(op) => {
                self.noops += 1;
                let few = self.noops < 100 || !self.has("few no-op frames");
                self.must("-", 3, few)?;
                self.must("-", 1, !(op == 0x90 && self.has("knows no skipped ops")))
            }
        }
    }

    fn settings(&mut self, body: &[u8]) -> Step {
        self.must("W2.1", 1, self.magic)?;
        self.must("W3.1", 1, self.theirs.is_none())?;
        self.must("-", 1, !(body.is_empty() && self.has("no empty settings")))?;
        let unknown = body.len() > 1 && u16::from_be_bytes([body[0], body[1]]) > 4;
        self.must("-", 1, !(unknown && self.has("no unknown settings")))?;
        let faults = self.faults.clone();
        let found = Settings::decode(body, &|rule| !faults.has(rule));
        let theirs = match found {
            Err(Broken { rule: "W3.2", .. }) if self.has("W3.2") => LEAST,
            other => other.map_err(|why| End::GoAway(1, why.to_string()))?,
        };
        if self.role == Role::Server && self.has("waits for the settings") {
            self.hello();
        }
        self.theirs = Some(theirs);
        for channel in self.channels.values_mut() {
            channel.limit = theirs.window.into();
        }
        Ok(())
    }

    fn open(&mut self, channel: u32) -> Step {
        let right = channel == self.next && channel <= i32::MAX as u32;
        self.must("W13.1", 1, right)?;
        self.must("W13.2", 3, self.opened < self.count)?;
        if channel == self.next {
            self.next += 2;
        }
        self.opened += 1;
        self.last = self.last.max(channel);
        let new = Channel::new(false, MINE, self.theirs.unwrap_or(LEAST));
        self.channels.insert(channel, new);
        Ok(())
    }

    /// A channel that is there, or whether it was.
    fn known(&mut self, channel: u32) -> Result<Option<&mut Channel>, End> {
        let next = match channel % 2 == self.next % 2 {
            true => self.next,
            false => self.mine_next,
        };
        self.must("W13.4", 1, channel < next)?;
        Ok(self.channels.get_mut(&channel))
    }

    pub(super) fn check_data(&mut self, channel: u32, length: u64) -> Step {
        let known = self.known(channel)?;
        let (ended, refused, over) = match known {
            Some(of) => {
                let debt = (of.got + length).saturating_sub(of.said);
                (of.ended.is_some(), of.refused, debt - of.borrowed())
            }
            None => (true, false, 0),
        };
        self.must("W14.1", 1, !ended)?;
        self.must("W15.3", 1, !refused)?;
        self.must("W10.3", 2, ended || over <= self.left())
    }

    /// What the peer may still borrow.
    fn left(&self) -> u64 {
        let living = self.channels.values().map(Channel::borrowed).sum::<u64>();
        MINE.budget.saturating_sub(living)
    }

    fn data(&mut self, channel: u32, body: &[u8]) -> Step {
        self.check_data(channel, body.len() as u64)?;
        let to = match self.has("mixes up channels") {
            true => self.channels.keys().next_back().copied().unwrap_or(channel),
            false => channel,
        };
        if let Some(of) = self.channels.get_mut(&channel) {
            of.got += body.len() as u64;
            of.used = true;
        }
        if let Some(of) = self.channels.get_mut(&to) {
            of.unread.extend_from_slice(body);
        }
        Ok(())
    }

    fn ended(&mut self, channel: u32, debt: u64, clean: bool) -> Step {
        let left = self.left();
        let Some(of) = self.known(channel)? else {
            return self.must("W14.1", 1, false);
        };
        let (ended, refused) = (of.ended.is_some(), of.refused && clean);
        let before = of.borrowed();
        let right = (before..=of.got).contains(&debt) && debt - before <= left;
        self.must("W14.1", 1, !ended)?;
        self.must("W15.3", 1, !refused)?;
        self.must("W12.2", 2, ended || right)?;
        let early = self.has("forgets bytes before a FIN");
        if let Some(of) = self.channels.get_mut(&channel) {
            (of.ended, of.unpaid, of.used) = (Some(clean), debt.min(MINE.budget), of.used || clean);
            if early {
                of.unread.truncate(of.unread.len() / 2);
                of.queue.clear();
            }
        }
        Ok(())
    }

    fn window(&mut self, channel: u32, limit: u64, loan: u32) -> Step {
        let window = u64::from(self.theirs.unwrap_or(LEAST).window);
        let fatal = self.has("crossing frames are fatal");
        let Some(of) = self.known(channel)? else {
            return self.must("-", 1, !fatal);
        };
        let refused = of.refused;
        let right = limit >= of.limit + window.div_ceil(2) && limit <= of.sent + window;
        of.used = true;
        self.must("W15.3", 1, !refused)?;
        self.must("W11.1", 2, right)?;
        let ignores = self.has("ignores WINDOWs");
        if let Some(of) = self
            .channels
            .get_mut(&channel)
            .filter(|_| right && !ignores)
        {
            // The debt of an end stays what it was (W12.3).
            (of.limit, of.loan) = (limit, loan.into());
        }
        Ok(())
    }

    fn stop(&mut self, channel: u32, code: u32) -> Step {
        let fatal = self.has("crossing frames are fatal");
        let silent = self.has("ignores STOP");
        let Some(of) = self.known(channel)? else {
            return self.must("-", 1, !fatal);
        };
        of.refused |= code == REFUSED && of.ours && !of.used;
        if !of.over && !silent {
            of.stopped = true;
            let ours = of.ours;
            let code = match code {
                _ if self.has("another code in a RESET") => 77,
                REFUSED if !ours && !self.has("answers as a refusal") => 0,
                code => code,
            };
            self.reset(channel, code);
        }
        Ok(())
    }

    fn ping(&mut self, token: u64) -> Step {
        self.pings += 1;
        self.must("-", 3, self.pings < 60 || !self.has("few PINGs"))?;
        if !self.has("no PONG") {
            self.say(&Frame::Pong(
                token.wrapping_add(self.has("another token").into()),
            ));
        }
        if self.drains > 0 && self.has("opens behind a drain") {
            self.own_channel(b"late");
        }
        if self.drains > 0 && self.has("a drain ends channels") {
            let all: Vec<u32> = self.channels.keys().copied().collect();
            all.into_iter().for_each(|channel| self.reset(channel, 0));
        }
        Ok(())
    }

    fn paid_back(&mut self, total: u64) -> Step {
        let least = Seen::least_return(self.theirs.unwrap_or(LEAST));
        let right = total >= self.paid.saturating_add(least) && total <= self.owed;
        self.must("W12.4", 2, right)?;
        self.paid = total.min(self.owed);
        Ok(())
    }

    pub(super) fn reset(&mut self, channel: u32, code: u32) {
        let says_none = self.has("says no debt");
        if let Some(of) = self.channels.get_mut(&channel).filter(|of| !of.over) {
            of.over = true;
            of.queue.clear();
            let debt = of.debt();
            self.owed += debt;
            self.say(&Frame::Reset(
                channel,
                code,
                if says_none { 0 } else { debt },
            ));
        }
    }
}
