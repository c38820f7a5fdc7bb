//! Ranges and units of what a user may set.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The largest count: 2^31 - 1, the most that the wire format carries.
pub(crate) const MOST: u128 = i32::MAX as u128;

/// In milliseconds.
pub(crate) const HOUR: u128 = 3_600_000;
/// In milliseconds.
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
pub(crate) const DAY: u128 = 24 * HOUR;

/// A value outside its range.
///
/// ```
/// use tcpchan::proto::Config;
///
/// let error = Config::default().max_channels(10).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "max_channels is 10 and must be from 256 to 2147483647",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    value: u128,
    range: RangeInclusive<u128>,
    /// Follows each number; empty for a count.
    unit: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, value, unit) = (self.field, self.value, self.unit);
        let (least, most) = (self.range.start(), self.range.end());
        write!(
            f,
            "{field} is {value}{unit} and must be from {least}{unit} to {most}{unit}"
        )
    }
}

impl std::error::Error for ConfigError {}

/// Checks a count.
pub(crate) fn check(
    field: &'static str,
    value: u128,
    range: RangeInclusive<u128>,
) -> Result<(), ConfigError> {
    check_in("", field, value, range)
}

/// Checks a time; the range is in milliseconds.
pub(crate) fn check_time(
    field: &'static str,
    time: Duration,
    range: RangeInclusive<u128>,
) -> Result<(), ConfigError> {
    check_in(" ms", field, time.as_millis(), range)
}

fn check_in(
    unit: &'static str,
    field: &'static str,
    value: u128,
    range: RangeInclusive<u128>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError {
        field,
        value,
        range,
        unit,
    })
}
