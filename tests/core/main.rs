//! The protocol core, on a clock that the tests move.

#[path = "../support/hex.rs"]
mod hex;
#[path = "../support/long_link.rs"]
mod long_link;
#[path = "../support/pair.rs"]
mod pair;
#[path = "../support/raw.rs"]
mod raw;
#[path = "../support/seeds.rs"]
mod seeds;
#[path = "../support/world.rs"]
mod world;

mod conversations;
mod corners;
mod credit;
mod credit_by_spec;
mod credit_corners;
mod credit_frames;
mod credit_link;
mod deferred_stop;
mod floods;
mod given_up;
mod honest_load;
mod memory_limit;
mod properties;
mod round_trips;
mod scheduling;
mod shortest_round_trip;
mod slow_peers;
mod table;
mod two_cores;
mod vectors;
mod version0;
mod violations;
