//! Those who have come and have yet to say who they are.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Strangers at a time. Beyond them one makes room for the next: of the network that has the most
/// the one who has waited longest. So who says nothing keeps no other network out.
const MOST: usize = 1024;

/// How long a stranger has at least, as one of a link of 300 ms needs.
const GRACE: Duration = Duration::from_secs(1);

/// A task for each, which gives what is known then.
pub struct Strangers<T> {
    tasks: JoinSet<T>,
    /// As they came. Some have ended.
    order: VecDeque<Stranger>,
}

struct Stranger {
    network: Option<IpAddr>,
    since: Instant,
    task: AbortHandle,
}

impl<T: Send + 'static> Strangers<T> {
    pub fn new() -> Self {
        Strangers {
            tasks: JoinSet::new(),
            order: VecDeque::new(),
        }
    }

    /// One of this address, unless there is no room for one more of its network.
    pub fn add(&mut self, addr: Option<IpAddr>, greets: impl Future<Output = T> + Send + 'static) {
        let (network, since) = (addr.map(network), Instant::now());
        if self.order.len() >= MOST {
            self.order.retain(|one| !one.task.is_finished());
        }
        if self.order.len() >= MOST && !self.makes_room(network, since) {
            return;
        }
        let task = self.tasks.spawn(greets);
        let one = Stranger {
            network,
            since,
            task,
        };
        self.order.push_back(one);
    }

    /// Sends one away for the next, which is of this network. Whoever has just come stays, unless
    /// its network has more than that of the next.
    fn makes_room(&mut self, of: Option<IpAddr>, now: Instant) -> bool {
        let mut counts = BTreeMap::new();
        for one in &self.order {
            *counts.entry(one.network).or_insert(0) += 1;
        }
        let own = counts.get(&of).copied().unwrap_or(0);
        let most = counts.values().copied().max().unwrap_or(0);
        let oldest = self.order.iter().position(|one| {
            let more = most > own + 1;
            counts[&one.network] == most && (more || now >= one.since + GRACE)
        });
        let Some(gone) = oldest.and_then(|at| self.order.remove(at)) else {
            return false;
        };
        gone.task.abort();
        true
    }

    /// What is known of the next; never ready without one. Cancel safe.
    pub async fn next(&mut self) -> T {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(known)) => return known,
                Some(Err(_)) => {} // it made room
                None => std::future::pending().await,
            }
        }
    }
}

/// The network of an address: an address of IPv4, or a /64.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => {
            let [a, b, c, d, ..] = addr.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        addr => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    fn at(last: u16) -> Option<IpAddr> {
        let [high, low] = last.to_be_bytes();
        Some(IpAddr::from([10, 0, high, low]))
    }

    /// As many as there may be, of so many networks, and those who are there yet.
    fn full(networks: u16) -> Strangers<()> {
        let mut strangers = Strangers::new();
        for nth in 0..MOST as u16 {
            strangers.add(at(1 + nth % networks), pending());
        }
        strangers
    }

    fn has(strangers: &Strangers<()>, addr: Option<IpAddr>) -> usize {
        let of = strangers.order.iter().filter(|one| one.network == addr);
        of.count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_one_network_keeps_no_other_out_and_sends_none_away() {
        let mut strangers = full(1);
        strangers.add(at(2), pending());
        assert_eq!(has(&strangers, at(2)), 1);
        for _ in 0..MOST {
            strangers.add(at(1), pending());
        }
        assert_eq!(has(&strangers, at(2)), 1);
        assert_eq!(strangers.order.len(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_many_networks_leaves_each_a_second() {
        let mut strangers = full(MOST as u16);
        strangers.add(at(5000), pending());
        assert_eq!(has(&strangers, at(5000)), 0);
        tokio::time::advance(GRACE).await;
        strangers.add(at(5000), pending());
        assert_eq!((has(&strangers, at(5000)), has(&strangers, at(1))), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_sent_away_is_dropped_and_the_next_is_known() {
        let mut strangers = Strangers::new();
        let held = Arc::new(());
        for _ in 0..MOST {
            let held = held.clone();
            strangers.add(at(1), async move {
                let _held = held;
                pending().await
            });
        }
        strangers.add(at(2), async { 2 });
        assert_eq!(strangers.next().await, 2);
        assert_eq!(Arc::strong_count(&held), MOST);
    }
}
