//! Two cores, two applications, a virtual link and a virtual clock, from seeds:
//! delays, splits, stalls, cuts and cancels, with the invariants of
//! `support/world.rs` after every step.
//!
//! `TCPCHAN_SEEDS=5000 cargo test --test simulation` tries more, and
//! `TCPCHAN_SEED=7 cargo test --test simulation` one alone.

#[path = "support/pair.rs"]
mod pair;
#[path = "support/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use world::World;
use world::actions::{action, setup};

const SEEDS: u64 = 200;
const STEPS: usize = 200;

fn from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

fn simulate(seed: u64) {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let life = (setup(), setup(), vec(action(), STEPS));
    let tree = life.new_tree(&mut runner).expect("nothing is filtered out");
    let (client, server, actions) = tree.current();
    World::new(client, server).live(&actions);
}

#[test]
fn invariants_hold_after_every_step() {
    let seeds = match from_env("TCPCHAN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("TCPCHAN_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            eprintln!("replay it: TCPCHAN_SEED={seed} cargo test --test simulation");
            resume_unwind(panic);
        }
    }
}
