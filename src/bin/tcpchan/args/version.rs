//! What `--version` says.

/// The crate's features that change what the command can do or how fast it is.
const FEATURES: [(&str, bool); 5] = [
    ("client", cfg!(feature = "client")),
    ("server", cfg!(feature = "server")),
    ("tls", cfg!(feature = "tls")),
    ("metrics", cfg!(feature = "metrics")),
    ("tracing", cfg!(feature = "tracing")),
];

/// The version, with the commit if the environment of the build had it, and how it was built.
pub fn version() -> String {
    let commit = option_env!("TCPCHAN_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map_or(String::new(), |commit| format!(" (commit {commit})"));
    let on = FEATURES.iter().filter(|(_, on)| *on);
    let features: Vec<_> = on.map(|(name, _)| *name).collect();
    format!(
        "{}{commit}\nfeatures: {}\nTLS: rustls with ring\nsystem: {} {}",
        env!("CARGO_PKG_VERSION"),
        features.join(" "),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}
