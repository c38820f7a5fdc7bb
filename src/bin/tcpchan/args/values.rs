//! What options may be: each parser says what it takes.

use std::convert::Infallible;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use http::uri::Authority;
use tokio_rustls::rustls::pki_types::DnsName;

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

/// A bare port is one of this host alone.
pub fn admin_address(text: &str) -> Result<String, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok(format!("127.0.0.1:{port}")),
        Err(_) => host_and_port(text),
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

/// A time, as people write it; a bare number is of seconds. At most a day, at least a
/// millisecond.
pub fn time(text: &str) -> Result<Duration, String> {
    let bare = text.parse().ok().map(Duration::try_from_secs_f64);
    let time = match bare {
        Some(time) => time.ok(),
        None => humantime::parse_duration(text).ok(),
    };
    time.filter(|time| (SHORTEST..=LONGEST).contains(time))
        .ok_or_else(|| "it must be a time from 1ms to 1day, such as 30s, 2m or 1h 30m".to_owned())
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Bytes, as people write them.
pub fn size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.0)
        .map_err(|_| "it must be a number of bytes, such as 65536 or 64 MiB".to_owned())
}

/// The URL of a proxy, which may have a password: no error or debug text shows it. It is read
/// where the proxy is used.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(pub String);

impl FromStr for ProxyUrl {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(ProxyUrl(url.to_owned()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(..)")
    }
}

/// A name that a client's certificate may have.
pub fn client_name(text: &str) -> Result<String, String> {
    let is_uri = text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !text.trim_end_matches("/*").contains('*')
    });
    match is_uri || DnsName::try_from(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err("it must be a DNS name, or a URI such as spiffe://example.org/web".to_owned()),
    }
}

/// Where a service is.
pub fn target(text: &str) -> Result<String, String> {
    match text.strip_prefix("unix:") {
        Some(name) => unix_name(name).map(|()| text.to_owned()),
        None => host_and_port(text),
    }
}

/// What a relay goes to: the same, or a service that comes to a hub of this process.
pub fn relay_target(text: &str) -> Result<String, String> {
    match text.strip_prefix("published:") {
        Some(name) => published_name(name).map(|_| text.to_owned()),
        None => target(text),
    }
}

/// The name of a service that comes to a hub.
pub fn published_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("a name is up to 64 letters, digits, and - _ .".to_owned()),
    }
}

/// The name of such a service, and where its clients come.
pub fn published(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once('=').ok_or("it must be NAME=ADDRESS")?;
    Ok((published_name(name)?, listen(address)?))
}

/// Where a service of this process listens.
pub fn listen(text: &str) -> Result<String, String> {
    match text.strip_prefix("systemd:") {
        Some("") => Err("it must be systemd:NAME, the FileDescriptorName= of a socket".to_owned()),
        Some(_) => Ok(text.to_owned()),
        None => target(text),
    }
}

fn unix_name(name: &str) -> Result<(), String> {
    let is_name = name.len() > 1 && name.len() < UNIX_NAME;
    match (is_name, name.as_bytes().first()) {
        (true, Some(b'/')) => Ok(()),
        (true, Some(b'@')) if cfg!(target_os = "linux") => Ok(()),
        (true, Some(b'@')) => Err("only Linux has abstract names".to_owned()),
        _ => Err("it must be unix:/PATH or unix:@NAME, of less than 108 bytes".to_owned()),
    }
}

/// What a unix socket's address has room for.
const UNIX_NAME: usize = 108;

/// Permissions in octal digits.
pub fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "it must be permissions in octal digits, such as 660".to_owned())
}
