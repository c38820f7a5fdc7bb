//! Whom a request is for. A web page can give a DNS name of its own the address of this host,
//! and read what is answered there. It can't change the `Host` that its browser sends.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;

/// Whether each `Host` is an IP address, `localhost` or one of these names. A client without
/// one is no browser.
pub fn is_ours(headers: &HeaderMap, names: &[String]) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let host = host.to_str().ok();
        let authority: Option<Authority> = host.and_then(|host| host.parse().ok());
        authority.is_some_and(|authority| is_name(authority.host(), names))
    })
}

fn is_name(host: &str, names: &[String]) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_one_of = |name: &String| name.eq_ignore_ascii_case(host);
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(is_one_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_ours_and_others_not() {
        let ours = [
            "127.0.0.1",
            "127.0.0.1:9100",
            "[::1]:9100",
            "LocalHost:1",
            "metrics:9100",
        ];
        let others = [
            "evil.example",
            "evil.example:9100",
            "localhost.evil.example",
            "",
            "a b",
        ];
        let names = ["metrics".to_owned()];
        let with = |host: &str| HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        for host in ours {
            assert!(is_ours(&with(host), &names), "{host}");
        }
        for host in others {
            assert!(!is_ours(&with(host), &names), "{host}");
        }
        let mut both = with("127.0.0.1");
        both.append(HOST, "evil.example".parse().unwrap());
        assert!(!is_ours(&both, &names));
        assert!(is_ours(&HeaderMap::new(), &names));
    }
}
