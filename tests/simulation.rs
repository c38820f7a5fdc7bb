//! Two cores, two applications, a virtual link and a virtual clock, from seeds:
//! delays, splits, stalls, cuts and cancels, with the invariants of
//! `support/world.rs` after every step.
//!
//! `TCPCHAN_SEEDS=5000 cargo test --test simulation` tries more.

#[path = "support/pair.rs"]
mod pair;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/world.rs"]
mod world;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use world::World;
use world::actions::{action, setup};

const SEEDS: u64 = 200;
const STEPS: usize = 200;

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
    seeds::each(SEEDS, "--test simulation", simulate);
}
