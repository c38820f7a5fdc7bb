//! The memory that the connections of a process may hold together.

mod budget;
mod lease;
mod network;
#[cfg(feature = "server")]
mod shares;

pub(crate) use self::budget::LOOK_AGAIN;
pub use self::budget::MemoryBudget;
#[cfg(test)]
pub(crate) use self::budget::RESERVE;
pub(crate) use self::lease::Lease;
#[cfg(feature = "server")]
pub(crate) use self::network::NetworkUse;
#[cfg(feature = "server")]
pub(crate) use self::shares::{Share, Shares};

#[cfg(test)]
mod tests {
    use super::budget::RESERVE;
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn one_connection_alone_gets_three_eighths_of_the_budget() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut lease = budget.try_lease().unwrap();
        lease.resize(u64::MAX / 2);
        let bytes = lease.bytes();
        assert!((191 * MIB..=192 * MIB).contains(&bytes), "{bytes}");
        drop(lease);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn connections_that_hold_what_they_can_leave_something_for_the_next() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut leases = Vec::new();
        for _ in 0..1_000 {
            let mut lease = budget.try_lease().unwrap();
            lease.resize(200 * MIB);
            leases.push(lease);
        }
        // As long as any of them wants more.
        for _ in 0..100 {
            for lease in &mut leases {
                lease.resize(200 * MIB);
            }
        }
        assert!(budget.used() <= 512 * MIB);
        let reserves: Vec<_> = (0..3_000).map_while(|_| budget.try_lease()).collect();
        assert_eq!(reserves.len(), 3_000);
    }

    #[test]
    fn a_lease_could_have_what_it_would_get() {
        let budget = MemoryBudget::of(4 * MIB);
        let mut lease = budget.try_lease().unwrap();
        let most = (1..100)
            .rev()
            .find(|steps| lease.could_have(steps * RESERVE));
        assert_eq!(budget.used(), RESERVE, "it takes none");
        lease.resize(4 * MIB);
        assert_eq!(Some(lease.bytes() / RESERVE), most);
    }

    #[test]
    fn what_a_connection_needs_no_more_is_for_others() {
        let budget = MemoryBudget::of(2 * MIB);
        let mut first = budget.try_lease().unwrap();
        let mut second = budget.try_lease().unwrap();
        first.resize(MIB);
        second.resize(MIB);
        let before = second.bytes();
        first.resize(0);
        assert_eq!(first.bytes(), RESERVE);
        second.resize(MIB);
        assert!(second.bytes() > before, "{} {before}", second.bytes());
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_crowd_that_holds_all_that_it_can_leaves_others_a_few_channels() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut crowd: Vec<_> = (0..100).map(|_| budget.try_lease().unwrap()).collect();
        for lease in &mut crowd {
            lease.resize(200 * MIB);
        }
        let later: Vec<_> = (0..700).map(|_| budget.try_lease().unwrap()).collect();
        let shares = Shares::new(budget.clone(), RESERVE, None);
        let few: Vec<_> = (0..100).map_while(|_| shares.try_take()).collect();
        assert!((4..=8).contains(&few.len()), "{}", few.len());
        // As many peers that open all they can.
        let many: Vec<_> = (0..800)
            .map(|_| Shares::new(budget.clone(), RESERVE, None))
            .collect();
        let held: Vec<_> = (0..8)
            .flat_map(|_| many.iter().filter_map(Shares::try_take))
            .collect();
        assert!(held.len() >= 800);
        let reserves: Vec<_> = (0..1_000).map_while(|_| budget.try_lease()).collect();
        assert_eq!(reserves.len(), 1_000);
        drop(later);
    }

    #[cfg(feature = "server")]
    fn of_network(budget: &MemoryBudget, network: u8) -> (Lease, std::sync::Arc<Shares>) {
        let network = budget.network(std::net::IpAddr::from([10, 0, 0, network]));
        let mut lease = budget.try_lease().unwrap();
        assert!(lease.count_for(Some(network.clone())));
        (lease, Shares::new(budget.clone(), RESERVE, Some(network)))
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_a_network_holds_by_leases_and_shares_leaves_a_quarter_to_others() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut crowd: Vec<_> = (0..100).map(|_| of_network(&budget, 1)).collect();
        let mut held = Vec::new();
        for _ in 0..10_000 {
            for (lease, shares) in &mut crowd {
                lease.resize(MIB);
                held.extend(shares.try_take());
            }
        }
        let (mut other, _) = of_network(&budget, 2);
        other.resize(40 * MIB);
        assert!(other.bytes() >= 40 * MIB, "{}", other.bytes());
        drop((held, crowd, other));
        assert_eq!(budget.used(), 0);
        let (mut again, _) = of_network(&budget, 1);
        again.resize(512 * MIB);
        assert!(again.bytes() >= 191 * MIB, "{}", again.bytes());
    }

    #[cfg(feature = "server")]
    #[test]
    fn connections_of_a_network_that_hold_what_they_can_leave_something_for_its_next() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut greedy: Vec<_> = (0..4).map(|_| of_network(&budget, 1)).collect();
        for _ in 0..100 {
            for (lease, _) in &mut greedy {
                lease.resize(512 * MIB);
            }
        }
        let (mut next, shares) = of_network(&budget, 1);
        next.resize(512 * MIB);
        assert!(next.bytes() >= 5 * MIB, "{}", next.bytes());
        let channels: Vec<_> = (0..100).map_while(|_| shares.try_take()).collect();
        assert_eq!(channels.len(), 100);
    }

    #[cfg(feature = "server")]
    #[test]
    fn threads_that_take_and_give_back_at_once_leave_nothing_behind() {
        let budget = MemoryBudget::of(4 * MIB);
        let networks = [0, 1].map(|nth| budget.network(std::net::IpAddr::from([10, 0, 0, nth])));
        std::thread::scope(|scope| {
            for nth in 0..4 {
                let budget = &budget;
                scope.spawn(move || {
                    for round in 0..1_000 {
                        let (mut lease, shares) = of_network(budget, nth % 2);
                        lease.resize(round % 5 * MIB);
                        let held: Vec<_> = (0..20).map_while(|_| shares.try_take()).collect();
                        lease.resize(round % 3 * MIB);
                        drop((lease, held));
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
        let nothing = format!("{:?}", NetworkUse::default());
        assert_eq!(
            networks.map(|one| format!("{one:?}")),
            [&*nothing, &nothing]
        );
        // Nor is anything missing of the part for first channels.
        let mut lease = budget.try_lease().unwrap();
        lease.resize(4 * MIB);
        assert_eq!(lease.bytes(), 3 * MIB / 2);
    }

    #[cfg(feature = "server")]
    #[tokio::test]
    async fn whoever_waits_for_a_reserve_gets_the_next_that_is_free() {
        let budget = MemoryBudget::of(MIB);
        let mut leases: Vec<_> = std::iter::from_fn(|| budget.try_lease()).collect();
        assert_eq!(leases.len() as u64, MIB / RESERVE);
        let waits = tokio::spawn({
            let budget = budget.clone();
            async move { budget.lease().await.bytes() }
        });
        tokio::task::yield_now().await;
        leases.pop();
        assert_eq!(waits.await.unwrap(), RESERVE);
    }
}
