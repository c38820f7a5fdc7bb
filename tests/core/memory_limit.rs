//! A connection that may hold no more memory still reads, else two sides that both write
//! would wait for each other for ever.

use tcpchan::proto::{Config, Key, OpenError, Read};

use crate::pair::Pair;

/// A pair of which the client may hold so many bytes more. The server has said something on
/// the channel, which is still on its way.
fn limited(bytes: u64) -> (Pair, Key) {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.run();
    let here = pair.client.open().unwrap();
    pair.client.write(here, b"?").unwrap();
    pair.run();
    let there = pair.server.accept().unwrap();
    pair.server.write(there, &[7; 4 << 10]).unwrap();
    let memory = pair.client.memory();
    pair.client.limit_memory(memory + bytes);
    (pair, here)
}

/// It gets what the server has said.
#[track_caller]
fn reads(mut pair: Pair, here: Key) {
    assert!(pair.client.wants_input());
    pair.run();
    let read = pair.client.read(here, &mut [0; 8 << 10]);
    assert_eq!(read, Ok(Read::Bytes(4 << 10)));
}

#[test]
fn what_waits_to_be_sent_leaves_memory_to_receive() {
    let (mut pair, here) = limited(32 << 10);
    while pair.client.write(here, &[7; 1 << 10]).unwrap() > 0 {}
    reads(pair, here);
}

#[test]
fn channels_that_this_side_opens_leave_memory_to_receive() {
    let (mut pair, here) = limited(64 << 10);
    let refused = loop {
        if let Err(error) = pair.client.open() {
            break error;
        }
    };
    assert_eq!(refused, OpenError::Blocked);
    reads(pair, here);
}
