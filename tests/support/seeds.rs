//! The seeds of a simulation, from the environment: `TCPCHAN_SEEDS=5000`, or
//! some of them, `TCPCHAN_SEEDS=5000..6000`, or one, `TCPCHAN_SEED=7`.

use std::env::var;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs each seed. One that fails says how to replay it.
pub fn each(count: u64, test: &str, mut simulate: impl FnMut(u64)) {
    for seed in seeds(count) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            eprintln!("replay it: TCPCHAN_SEED={seed} cargo test {test}");
            resume_unwind(panic);
        }
    }
}

fn seeds(count: u64) -> Range<u64> {
    let number = |value: &str| value.parse::<u64>().expect("a number");
    if let Ok(one) = var("TCPCHAN_SEED") {
        return number(&one)..number(&one) + 1;
    }
    match var("TCPCHAN_SEEDS") {
        Ok(range) => match range.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&range),
        },
        Err(_) => 0..count,
    }
}
