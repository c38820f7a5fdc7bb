//! What the mixed load asks for, and when.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// The mean time between two requests outside of bursts.
const GAP: Duration = Duration::from_millis(20);

/// From one burst to the next; the first comes after half of that.
const BURSTS: Duration = Duration::from_secs(10);
const BURST: usize = 200;

/// A kind of request, which has figures of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Small,
    Middle,
    Large,
    Upload,
    /// One of many small ones at once.
    Burst,
}

/// Of a thousand requests so many are of the class, and of sizes from and to that. It
/// is what a few connections without BBR can carry at 2 % loss: 11 Mbit/s.
const MIX: [(Class, u32, u64, u64); 4] = [
    (Class::Small, 825, 200, 4 << 10),
    (Class::Middle, 130, 16 << 10, 128 << 10),
    (Class::Large, 5, 1 << 20, 10_000_000),
    (Class::Upload, 40, 16 << 10, 256 << 10),
];

pub struct Request {
    /// Since the start of the stage.
    pub at: Duration,
    pub class: Class,
    pub bytes: u64,
}

impl Class {
    pub const ALL: [Class; 5] = [
        Class::Small,
        Class::Middle,
        Class::Large,
        Class::Upload,
        Class::Burst,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Class::Small => "small",
            Class::Middle => "middle",
            Class::Large => "large",
            Class::Upload => "upload",
            Class::Burst => "burst",
        }
    }
}

/// The requests of so long, in the order of their times. A seed's are the same for
/// all ways.
pub fn plan(seed: u64, length: Duration) -> Vec<Request> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut requests = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        // As of many users who know nothing of each other.
        at += GAP.mul_f64(-(1.0 - random.random::<f64>()).ln());
        if at >= length {
            break;
        }
        let (class, bytes) = one(&mut random);
        requests.push(Request { at, class, bytes });
    }
    let mut at = BURSTS / 2;
    while at < length {
        requests.extend((0..BURST).map(|_| Request {
            at,
            class: Class::Burst,
            bytes: crate::scenario::SMALL,
        }));
        at += BURSTS;
    }
    requests.sort_by_key(|request| request.at);
    requests
}

/// Its size is as likely to be between n and 2n as between 2n and 4n.
fn one(random: &mut Xoshiro256PlusPlus) -> (Class, u64) {
    let mut draw = random.random_range(0..MIX.iter().map(|(_, share, ..)| share).sum());
    let size = random.random::<f64>();
    for (class, share, least, most) in MIX {
        if draw < share {
            let bytes = least as f64 * (most as f64 / least as f64).powf(size);
            return (class, bytes as u64);
        }
        draw -= share;
    }
    unreachable!("the shares' sum is more than any draw")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn count(requests: &[Request], class: Class) -> usize {
        let of_class = |request: &&Request| request.class == class;
        requests.iter().filter(of_class).count()
    }

    #[test]
    fn a_minute_has_fifty_requests_a_second_and_six_bursts() {
        let requests = plan(1, MINUTE);
        let bursts = count(&requests, Class::Burst);
        assert_eq!(bursts, 6 * BURST);
        assert!((2800..3200).contains(&(requests.len() - bursts)));
    }

    #[test]
    fn each_class_has_its_share_of_them() {
        let requests = plan(1, MINUTE * 10);
        let others = requests.len() - count(&requests, Class::Burst);
        for (class, share, ..) in MIX {
            let found = 1000 * count(&requests, class) / others;
            assert!((share as usize).abs_diff(found) <= 10, "{class:?}: {found}");
        }
    }

    #[test]
    fn sizes_are_from_200_bytes_to_10_megabytes() {
        let requests = plan(1, MINUTE * 60);
        let sizes = || requests.iter().map(|request| request.bytes);
        assert!((200..220).contains(&sizes().min().unwrap()));
        assert!((9_000_000..=10_000_000).contains(&sizes().max().unwrap()));
    }

    #[test]
    fn requests_come_in_the_order_of_their_times() {
        assert!(plan(1, MINUTE).is_sorted_by_key(|request| request.at));
    }

    #[test]
    fn a_seed_has_always_the_same_requests_and_another_has_others() {
        let sizes = |seed| -> Vec<u64> { plan(seed, MINUTE).iter().map(|r| r.bytes).collect() };
        assert_eq!(sizes(1), sizes(1));
        assert_ne!(sizes(1), sizes(2));
    }
}
