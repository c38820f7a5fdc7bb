//! What options may be: each parser says what it takes.

use std::time::Duration;

use http::uri::Authority;

pub fn host_and_port(text: &str) -> Result<String, String> {
    let authority: Option<Authority> = text.parse().ok();
    let fits = |authority: &Authority| authority.port_u16().is_some() && !text.contains('@');
    match authority.filter(fits) {
        Some(_) => Ok(text.to_owned()),
        None => Err("it must be HOST:PORT, an IPv6 address in brackets".to_owned()),
    }
}

/// At most a day, at least a millisecond.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|n| (0.001..=86_400.0).contains(n));
    match seconds {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("it must be seconds, from 0.001 to 86400".to_owned()),
    }
}
