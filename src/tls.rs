/// The protocol's name in TLS's ALPN: `tcpchan/1`.
pub const ALPN: &[u8] = b"tcpchan/1";
