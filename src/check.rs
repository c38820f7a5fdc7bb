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

/// A value that can't be.
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
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Range {
        value: u128,
        range: RangeInclusive<u128>,
        /// Follows each number; empty for a count.
        unit: &'static str,
    },
    #[cfg(feature = "proxy-protocol")]
    Form { value: String, must: &'static str },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field;
        match &self.why {
            Why::Range { value, range, unit } => {
                let (least, most) = (range.start(), range.end());
                write!(
                    f,
                    "{field} is {value}{unit} and must be from {least}{unit} to {most}{unit}"
                )
            }
            #[cfg(feature = "proxy-protocol")]
            Why::Form { value, must } => write!(f, "{field} has {value:?} and must have {must}"),
        }
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
    let why = Why::Range { value, range, unit };
    Err(ConfigError { field, why })
}

/// A text that is none of those that must be.
#[cfg(feature = "proxy-protocol")]
pub(crate) fn malformed(field: &'static str, value: &str, must: &'static str) -> ConfigError {
    let value = value.to_owned();
    let why = Why::Form { value, must };
    ConfigError { field, why }
}
