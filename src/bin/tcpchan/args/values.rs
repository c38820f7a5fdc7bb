//! What options may be: each parser says what it takes.

use std::net::Ipv6Addr;
use std::time::Duration;

use http::uri::Authority;

pub fn host_and_port(text: &str) -> Result<String, String> {
    let authority: Option<Authority> = text.parse().ok();
    let fits = |authority: &Authority| {
        authority.port_u16().is_some() && !authority.host().is_empty() && !text.contains('@')
    };
    match authority.filter(fits) {
        Some(_) => Ok(text.to_owned()),
        None => Err(no_address(text)),
    }
}

/// Says what an address lacks.
fn no_address(text: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(text.strip_prefix(':').unwrap_or(text)) {
        let port = text.trim_start_matches(':');
        format!(
            "a port without a host: 0.0.0.0:{port} is all addresses of this host, \
             127.0.0.1:{port} is for itself"
        )
    } else if text.contains("://") {
        "it must be HOST:PORT, not a URL".to_owned()
    } else if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 {
        "it must be HOST:PORT, an IPv6 address in brackets, such as [::1]:9000".to_owned()
    } else if !text.contains(':') {
        format!("a host without a port: it must be {text}:PORT")
    } else {
        "it must be HOST:PORT, the port a number up to 65535".to_owned()
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
