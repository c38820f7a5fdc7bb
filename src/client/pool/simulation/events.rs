//! What happens in the world, and when.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::action::Action;
use super::super::state::Opened;
use super::super::waiters::WaiterId;
use super::connection::{Connection, Fake};
use super::{Ends, Limits, OPEN_TIMEOUT, RATE, World};
use crate::client::ConnectError;
use crate::client::fallback::met::{Evidence, Met};

impl World {
    /// Does what the pool asks for.
    pub(super) fn run(&mut self) {
        for action in self.state.take_actions() {
            match action {
                Action::Dial(id, addr, at) => {
                    let names = self.names.as_ref();
                    let told = names
                        .is_none_or(|names| addr.is_some_and(|addr| names.told.contains(&addr)));
                    assert!(told, "a dial to what the name has no more");
                    self.state.dial_begins(id, at.max(self.now));
                    let ends = match self.is_down(addr) {
                        true => Ends::Fails,
                        false => self.ends,
                    };
                    let takes = match ends {
                        Ends::Never => OPEN_TIMEOUT,
                        _ => self.some_time().min(OPEN_TIMEOUT),
                    };
                    let at = at.max(self.now) + takes;
                    self.dials.insert((at, id), (ends, addr));
                }
                Action::Resolve(question) => self.asks_resolver(question),
                Action::Give(id, result) => {
                    let caller = self.waiting.remove(&id);
                    assert!(caller.is_some(), "a result for nobody");
                    if let Ok(channel) = result {
                        self.serve(channel);
                    }
                }
                Action::Prewarmed(..) => self.prewarming -= 1,
                Action::Drain(_) => {} // it ends with its last channel
                Action::Release(_) => {}
                Action::Close(link) => self.end(&link, false),
                Action::Abandon(link) => self.end(&link, true),
            }
        }
        self.check();
    }

    /// Packets are lost, and limit each connection, or the link is full, and limits all.
    fn limit(&mut self) {
        let at_work = |link: &&Fake| link.0.borrow().channels > 0;
        let share = match self.limits {
            Some(Limits::Each) => 1,
            _ => self.links.iter().filter(at_work).count().max(1),
        };
        let limited = self.limits.map(|_| RATE / share as u64);
        let links = self.links.iter();
        links.for_each(|link| link.0.borrow_mut().limited = limited);
    }

    pub(super) fn look(&mut self) {
        self.limit();
        self.end_drained();
        self.state.look(self.now);
        self.run();
    }

    pub(super) fn open(&mut self) {
        match self.state.open(self.now) {
            Opened::Channel(channel) => self.serve(channel),
            Opened::Waits(id) => _ = self.waiting.insert(id, self.now + OPEN_TIMEOUT),
            Opened::Http => self.dials_itself(),
            Opened::Full(waiting) => assert_eq!(waiting, self.pool.max_waiting),
        }
        self.run();
    }

    /// A caller that is to call by HTTP, and may find that the server speaks tcpchan.
    fn dials_itself(&mut self) {
        assert!(self.falls_back);
        match self.rng.u8(..10) {
            0 => {
                let link = self.link(None);
                self.state.adopt(link, self.now);
            }
            kind => self.state.note_http(kind % 2 == 0, self.now),
        }
    }

    fn link(&mut self, addr: Option<SocketAddr>) -> Fake {
        let link = Fake(Rc::new(RefCell::new(Connection {
            addr,
            now: self.now,
            since: self.now,
            greeted: self.settles || self.rng.u8(..) < 200,
            suspect: false,
            draining: false,
            ended: None,
            stalled: None,
            fails: self.fails,
            limited: None,
            bytes: 0.0,
            channels: 0,
            limit: self.rng.usize(1..40),
            opened: 0,
            answered: 0,
            unanswered: 0,
        })));
        self.links.push(link.clone());
        link
    }

    fn serve(&mut self, channel: Fake) {
        self.served += 1;
        self.channels.push(channel);
    }

    pub(super) fn leave(&mut self, id: WaiterId) {
        self.waiting.remove(&id);
        self.state.leave(id);
        self.run();
    }

    fn dialled(&mut self, id: u64, (ends, addr): (Ends, Option<SocketAddr>)) {
        let result = match ends {
            Ends::Well => Ok(self.link(addr)),
            Ends::MeetsHttp => {
                let kinds = [Evidence::Alpn, Evidence::Answer, Evidence::Silence];
                let evidence = kinds[self.rng.usize(..kinds.len())];
                Err(ConnectError::http(Met::before(evidence)))
            }
            Ends::Fails => Err(ConnectError::dial("refused")),
            Ends::Never => Err(ConnectError::timeout(OPEN_TIMEOUT, None)),
            Ends::IsLost => {
                self.state.dial_lost(id);
                return self.look();
            }
        };
        let (waiting, under_way) = (self.waiting.len(), self.state.dials.under_way(self.now));
        self.state.dialled(id, result, self.now);
        self.run();
        if matches!(ends, Ends::MeetsHttp) && self.state.connections().count() == 0 {
            // Each dial that is left is for one of those who wait.
            let left = under_way.saturating_sub(1);
            assert_eq!(self.waiting.len(), waiting.min(left));
        }
    }

    pub(super) fn end_channel(&mut self, nth: usize) {
        if self.channels.is_empty() {
            return;
        }
        let channel = self.channels.swap_remove(nth % self.channels.len());
        let mut one = channel.0.borrow_mut();
        one.channels -= 1;
        match one.fails {
            true => one.unanswered += 1,
            false => one.answered += 1,
        }
        drop(one);
        self.look();
    }

    pub(super) fn end(&mut self, link: &Fake, lost: bool) {
        let mut one = link.0.borrow_mut();
        (one.ended, one.channels) = (Some(lost), 0);
        drop(one);
        self.channels
            .retain(|channel| !Rc::ptr_eq(&channel.0, &link.0));
    }

    /// What drains ends with its last channel.
    fn end_drained(&mut self) {
        for link in self.state.draining() {
            let mut one = link.0.borrow_mut();
            if one.channels == 0 && one.ended.is_none() {
                one.ended = Some(false);
            }
        }
        self.links.retain(|link| link.0.borrow().ended.is_none());
    }

    /// Lets time pass, and what is due happen when it is.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut looks = 0;
        loop {
            let look = self.state.next_look(self.now);
            assert!(
                look.is_none_or(|at| at > self.now),
                "a look that does nothing"
            );
            let dial = self.dials.first_key_value();
            let dial = dial.map(|(key, ends)| (*key, *ends));
            let impatient = self.waiting.iter().min_by_key(|(_, until)| **until);
            let impatient = impatient.map(|(id, until)| (*until, *id));
            let answer = self.names.as_ref().and_then(|names| names.answers);
            let times = [
                look,
                answer.map(|(at, _)| at),
                dial.map(|((at, _), _)| at),
                impatient.map(|(at, _)| at),
            ];
            let next = times.into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= until) else {
                break;
            };
            looks += 1;
            assert!(looks < 20_000, "it never rests");
            self.now = self.now.max(next);
            if let Some((at, ends)) = answer
                && at == next
            {
                self.resolver_answers(ends);
                continue;
            }
            match (dial, impatient) {
                (Some(((at, id), ends)), _) if at == next => {
                    self.dials.remove(&(at, id));
                    self.dialled(id, ends);
                }
                (_, Some((at, id))) if at == next => self.leave(id),
                _ => self.look(),
            }
        }
        self.now = until;
    }
}
