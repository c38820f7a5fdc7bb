//! What may happen in a world, and the configurations in which it does.

use proptest::prelude::*;
use tcpchan::Protocol;
use tcpchan::proto::{Config, Role};

/// Bytes of the longest write and read.
pub const MOST: usize = 100_000;

/// What happens next. The number picks one of the side's channels.
#[derive(Clone, Debug)]
pub enum Action {
    Open(Role, usize),
    Accept(Role),
    Write(Role, usize, usize),
    Read(Role, usize, usize),
    Finish(Role, usize),
    Reset(Role, usize),
    Stop(Role, usize),
    Release(Role, usize),
    Refuse(Role),
    Drain(Role),
    Close(Role),
    /// A side leaves its events alone, or takes them again.
    Lazy(Role, bool),
    Stall(Role, bool),
    Delay(Role, u64),
    Split(Role, usize),
    Exchange,
    Wait(u64),
    Cut,
}

/// Actions as they come in life: the violent ones are rare.
pub fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    let role = || prop_oneof![Just(Role::Client), Just(Role::Server)];
    let one = || (role(), any::<usize>());
    let size = || prop_oneof![1..200usize, 1..MOST];
    let piece = prop_oneof![Just(1), 2..40usize, 40..20_000usize, Just(usize::MAX)];
    prop_oneof![
        60 => (role(), prop_oneof![20 => 1..3usize, 1 => 250..300usize]).prop_map(|(r, n)| Open(r, n)),
        80 => role().prop_map(Accept),
        200 => (one(), size()).prop_map(|((r, i), n)| Write(r, i, n)),
        200 => (one(), size()).prop_map(|((r, i), n)| Read(r, i, n)),
        40 => one().prop_map(|(r, i)| Finish(r, i)),
        10 => one().prop_map(|(r, i)| Reset(r, i)),
        10 => one().prop_map(|(r, i)| Stop(r, i)),
        40 => one().prop_map(|(r, i)| Release(r, i)),
        4 => role().prop_map(Refuse),
        1 => role().prop_map(Drain),
        1 => role().prop_map(Close),
        10 => (role(), any::<bool>()).prop_map(|(r, on)| Lazy(r, on)),
        10 => (role(), any::<bool>()).prop_map(|(r, on)| Stall(r, on)),
        10 => (role(), 0..200u64).prop_map(|(r, ms)| Delay(r, ms)),
        10 => (role(), piece).prop_map(|(r, n)| Split(r, n)),
        150 => Just(Exchange),
        100 => (0..300u64).prop_map(Wait),
        5 => (0..40_000u64).prop_map(Wait),
        1 => Just(Cut),
    ]
}

/// A configuration, and what its memory is bounded by.
#[derive(Clone, Debug)]
pub struct Setup {
    pub config: Config,
    pub initial_window: u64,
    pub receive_budget: u64,
}

/// Configurations in which limits are met.
pub fn setup() -> impl Strategy<Value = Setup> {
    let protocol = prop_oneof![Just(Protocol::V1), Just(Protocol::Auto)];
    let initial = prop_oneof![Just(64 << 10), 64 << 10..400_000u32];
    let budget = prop_oneof![Just(0), 0..4_000_000u64];
    let send_buffer = prop_oneof![1..100usize, 1..200_000usize, Just(64 << 10)];
    let channels = prop_oneof![Just(256), 256..1024u32];
    (protocol, initial, budget, send_buffer, channels).prop_map(
        |(protocol, initial, budget, send_buffer, channels)| {
            let config = Config::default().protocol(protocol).receive_budget(budget);
            let config = config
                .initial_window(initial)
                .and_then(|config| config.send_buffer(send_buffer))
                .and_then(|config| config.max_channels(channels));
            Setup {
                config: config.expect("values in their ranges"),
                initial_window: initial.into(),
                receive_budget: budget,
            }
        },
    )
}
