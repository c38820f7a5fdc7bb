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
    #[test]
    fn what_a_network_holds_by_leases_and_shares_leaves_a_quarter_to_others() {
        use std::sync::Arc;

        let budget = MemoryBudget::of(512 * MIB);
        let network = Arc::new(NetworkUse::default());
        let mut leases: Vec<_> = (0..100).map(|_| budget.try_lease().unwrap()).collect();
        for lease in &mut leases {
            lease.count_for(Some(network.clone()));
            lease.resize(MIB);
        }
        let crowd: Vec<_> = (0..100)
            .map(|_| Shares::new(budget.clone(), RESERVE, Some(network.clone())))
            .collect();
        let take = || {
            crowd
                .iter()
                .filter_map(Shares::try_take)
                .collect::<Vec<_>>()
        };
        let held: Vec<_> = std::iter::repeat_with(take)
            .take_while(|more| !more.is_empty())
            .collect();
        let mut other = budget.try_lease().unwrap();
        other.resize(30 * MIB);
        assert!(other.bytes() >= 30 * MIB, "{}", other.bytes());
        drop((held, leases, other));
        assert_eq!(budget.used(), 0);
        assert_eq!(network.most(400), 300, "it holds nothing");
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
