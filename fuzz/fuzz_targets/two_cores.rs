//! Two cores joined by a link that delays, splits, stalls and breaks, with the
//! invariants of `tests/support/world.rs` after every step.
#![no_main]

#[path = "../../tests/support/pair.rs"]
mod pair;
#[path = "../../tests/support/world.rs"]
mod world;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tcpchan::Protocol;
use tcpchan::proto::{Config, Role};
use world::World;
use world::actions::{Action, MOST, Setup};

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let _ = live(&mut input);
});

fn live(input: &mut Unstructured<'_>) -> Result<()> {
    let (client, server) = (setup(input)?, setup(input)?);
    let mut actions = Vec::new();
    while !input.is_empty() && actions.len() < 64 {
        actions.push(action(input)?);
    }
    World::new(client, server).live(&actions);
    Ok(())
}

fn setup(input: &mut Unstructured<'_>) -> Result<Setup> {
    let initial_window = *input.choose(&[64 << 10, 64 << 10, 100_000])?;
    let tiny = input.int_in_range(1..=100)?;
    let receive_budget = *input.choose(&[0, tiny, 100_000, 4_000_000])?;
    let send_buffer = *input.choose(&[1, 100, 64 << 10, 200_000])?;
    let protocol = *input.choose(&[Protocol::V1, Protocol::V1, Protocol::Auto])?;
    let config = Config::default()
        .protocol(protocol)
        .receive_budget(receive_budget)
        .max_channels(256)
        .and_then(|config| config.initial_window(initial_window))
        .and_then(|config| config.send_buffer(send_buffer));
    Ok(Setup {
        config: config.expect("values in their ranges"),
        initial_window: initial_window.into(),
        receive_budget,
    })
}

fn action(input: &mut Unstructured<'_>) -> Result<Action> {
    use Action::*;
    let kind: u8 = input.arbitrary()?;
    let role = [Role::Client, Role::Server][usize::from(kind & 1)];
    let nth = |input: &mut Unstructured<'_>| input.arbitrary::<u8>().map(usize::from);
    let size = |input: &mut Unstructured<'_>| input.int_in_range(1..=MOST);
    Ok(match kind / 2 % 20 {
        0 => Open(role, 1 + nth(input)? % 3),
        1 | 2 => Accept(role),
        3..=5 => Write(role, nth(input)?, size(input)?),
        6..=8 => Read(role, nth(input)?, size(input)?),
        9 => Finish(role, nth(input)?),
        10 => Reset(role, nth(input)?),
        11 => Stop(role, nth(input)?),
        12 => Release(role, nth(input)?),
        13 => Lazy(role, input.arbitrary()?),
        14 => Stall(role, input.arbitrary()?),
        15 => Delay(role, input.arbitrary::<u8>()?.into()),
        16 => Split(role, 1000 + 100 * nth(input)?),
        17 => Exchange,
        18 => Wait(u64::from(input.arbitrary::<u8>()?) * 10),
        _ => match input.arbitrary::<u8>()? % 8 {
            0 => Refuse(role),
            1 => Drain(role),
            2 => Close(role),
            3 => Cut,
            _ => Wait(20_000),
        },
    })
}
