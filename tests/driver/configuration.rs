//! A value that can't work is an error where it is set, which names the field
//! and what it may be.

use std::time::Duration;

use tcpchan::client::PoolConfig;
use tcpchan::proto::{Read, Role};
use tcpchan::{Config, ConfigError, SocketProfile};

use crate::pair::Pair;

const NEVER: Duration = Duration::ZERO;
const LONG: Duration = Duration::MAX;
const MS: Duration = Duration::from_millis(1);
const MOST: u64 = i32::MAX as u64;

/// The error of a setter, in its words.
fn error<T>(set: Result<T, ConfigError>) -> String {
    match set {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was taken"),
    }
}

fn config() -> Config {
    Config::default()
}

fn pool() -> PoolConfig {
    PoolConfig::default()
}

fn socket() -> SocketProfile {
    SocketProfile::default()
}

#[test]
fn the_error_names_the_field_the_value_and_the_range() {
    assert_eq!(
        error(config().max_channels(255)),
        "max_channels is 255 and must be from 256 to 2147483647"
    );
    assert_eq!(
        error(config().ping_after(NEVER)),
        "ping_after is 0 ms and must be from 1 ms to 3600000 ms"
    );
}

/// Each of these errors begins with the field of its line.
fn are_refused<const N: usize>(errors: [(&str, String); N]) {
    for (field, error) in errors {
        assert!(
            error.starts_with(&format!("{field} is ")),
            "{field}: {error}"
        );
    }
}

#[test]
fn zero_is_no_limit_of_a_connection() {
    are_refused([
        ("initial_window", error(config().initial_window(0))),
        ("max_channels", error(config().max_channels(0))),
        ("send_buffer", error(config().send_buffer(0))),
        ("max_handshakes", error(config().max_handshakes(0))),
        (
            "handshake_timeout",
            error(config().handshake_timeout(NEVER)),
        ),
        (
            "max_connection_age",
            error(config().max_connection_age(NEVER, NEVER)),
        ),
        ("ping_after", error(config().ping_after(NEVER))),
        (
            "answer_within.suspect",
            error(config().answer_within(NEVER, MS)),
        ),
        ("write_stall", error(config().write_stall(NEVER))),
        ("min_rate", error(config().min_rate(0, LONG))),
        ("period of min_rate", error(config().min_rate(1, NEVER))),
        ("cancels_per_second", error(config().cancels_per_second(0))),
        ("pings_per_second", error(config().pings_per_second(0))),
        (
            "no_op_frames_per_second",
            error(config().no_op_frames_per_second(0)),
        ),
    ]);
}

#[test]
fn what_overflows_is_no_limit_of_a_connection() {
    let most = MOST as u32 + 1;
    are_refused([
        ("initial_window", error(config().initial_window(most))),
        ("max_channels", error(config().max_channels(most))),
        ("send_buffer", error(config().send_buffer(usize::MAX))),
        ("accept_backlog", error(config().accept_backlog(most))),
        ("max_handshakes", error(config().max_handshakes(most))),
        ("handshake_timeout", error(config().handshake_timeout(LONG))),
        (
            "max_connection_age",
            error(config().max_connection_age(LONG, NEVER)),
        ),
        (
            "grace of max_connection_age",
            error(config().max_connection_age(3600 * 1000 * MS, LONG)),
        ),
        ("ping_after", error(config().ping_after(LONG))),
        (
            "answer_within.suspect",
            error(config().answer_within(LONG, LONG)),
        ),
        (
            "answer_within.dead",
            error(config().answer_within(MS, LONG)),
        ),
        ("write_stall", error(config().write_stall(LONG))),
        ("min_rate", error(config().min_rate(most, MS))),
        ("period of min_rate", error(config().min_rate(1, LONG))),
        (
            "cancels_per_second",
            error(config().cancels_per_second(most)),
        ),
        ("pings_per_second", error(config().pings_per_second(most))),
        (
            "no_op_frames_per_second",
            error(config().no_op_frames_per_second(most)),
        ),
    ]);
}

#[test]
fn what_a_pool_can_not_do_is_refused() {
    are_refused([
        ("connections.start", error(pool().connections(0..=4))),
        ("connections.end", error(pool().connections(1..=65))),
        ("target_concurrency", error(pool().target_concurrency(0))),
        (
            "target_concurrency",
            error(pool().target_concurrency(usize::MAX)),
        ),
        ("open_timeout", error(pool().open_timeout(NEVER))),
        ("open_timeout", error(pool().open_timeout(LONG))),
        ("max_waiting", error(pool().max_waiting(0))),
        ("max_waiting", error(pool().max_waiting(usize::MAX))),
        ("idle_timeout", error(pool().idle_timeout(NEVER))),
        ("idle_timeout", error(pool().idle_timeout(LONG))),
        ("max_age", error(pool().max_age(Some(NEVER)))),
        ("max_age", error(pool().max_age(Some(LONG)))),
        ("max_opened", error(pool().max_opened(0))),
        ("max_opened", error(pool().max_opened(u32::MAX))),
        ("drain_timeout", error(pool().drain_timeout(Some(LONG)))),
    ]);
}

#[test]
fn what_a_socket_can_not_do_is_refused() {
    are_refused([
        ("unsent", error(socket().unsent(Some(0)))),
        ("unsent", error(socket().unsent(Some(u32::MAX)))),
        ("user_timeout", error(socket().user_timeout(Some(NEVER)))),
        ("user_timeout", error(socket().user_timeout(Some(LONG)))),
        ("keep_alive", error(socket().keep_alive(Some(MS)))),
        ("keep_alive", error(socket().keep_alive(Some(LONG)))),
    ]);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let hour = Duration::from_secs(3600);
    are_refused([
        (
            "answer_within.dead",
            error(config().answer_within(hour, hour)),
        ),
        #[expect(clippy::reversed_empty_ranges)]
        ("connections.end", error(pool().connections(3..=2))),
    ]);
}

/// Below it honest peers are cut off.
#[test]
fn the_frames_of_a_second_have_a_least_value() {
    are_refused([
        ("pings_per_second", error(config().pings_per_second(63))),
        (
            "no_op_frames_per_second",
            error(config().no_op_frames_per_second(999)),
        ),
    ]);
    let config = config().pings_per_second(64);
    assert!(config.unwrap().no_op_frames_per_second(1_000).is_ok());
}

#[test]
fn the_least_and_the_most_of_each_can_be_had() {
    let least = config()
        .initial_window(64 << 10)
        .and_then(|config| config.max_channels(256))
        .and_then(|config| config.send_buffer(1))
        .and_then(|config| config.accept_backlog(1))
        .and_then(|config| config.max_handshakes(1))
        .and_then(|config| config.answer_within(MS, 2 * MS));
    let most = config()
        .initial_window(MOST as u32)
        .and_then(|config| config.max_channels(MOST as u32))
        .and_then(|config| config.send_buffer(MOST as usize))
        .and_then(|config| config.accept_backlog(MOST as u32))
        .and_then(|config| config.write_stall(Duration::from_secs(86_400)));
    carries_a_byte(least.unwrap().receive_budget(0));
    carries_a_byte(most.unwrap().receive_budget(u64::MAX));
}

fn carries_a_byte(config: Config) {
    let mut pair = Pair::new(config.core().clone(), config.core().clone());
    let near = pair.client.open().unwrap();
    pair.client.write(near, b"x").unwrap();
    pair.client.finish(near).unwrap();
    pair.run();
    let far = pair.server.accept().unwrap();
    let (bytes, end) = pair.read_all(Role::Server, far);
    assert_eq!((&bytes[..], end), (&b"x"[..], Ok(Read::Finished)));
}

#[test]
fn what_is_set_can_be_read() {
    let config = config().max_handshakes(7).unwrap().pacing(false);
    let config = config.max_channels(300).unwrap();
    let config = config
        .max_connection_age(Duration::from_secs(60), MS)
        .unwrap();
    let config = config.socket(socket().system_congestion());
    assert_eq!(config.get_max_handshakes(), 7);
    assert!(!config.get_pacing());
    assert_eq!(config.core().get_max_channels(), 300);
    let config = config.min_rate(9, 100 * MS).unwrap();
    assert_eq!(config.core().get_min_rate(), Some((9, 100 * MS)));
    let age = config.get_max_connection_age();
    assert_eq!(age, Some((Duration::from_secs(60), MS)));
    assert_eq!(*config.get_socket(), socket().system_congestion());
}
