//! Where the figures come from.

use std::thread::available_parallelism;

/// Cores, kernel, congestion control and versions, in a line.
pub fn describe() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}"));
    let kernel = setting("kernel/osrelease").unwrap_or_default();
    let congestion = setting("net/ipv4/tcp_congestion_control").unwrap_or_default();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    format!(
        "{cores} cores ({}), Linux {}, loopback, {}; load average {load} before the run. {}.",
        model.unwrap_or("unknown"),
        kernel.trim(),
        congestion.trim(),
        versions()
    )
}

/// The versions of what is compared, as locked.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let package = lock
            .split("[[package]]")
            .find(|package| package.contains(&format!("\nname = \"{name}\"\n")))?;
        let line = package
            .lines()
            .find_map(|line| line.strip_prefix("version = "))?;
        Some(format!("{name} {}", line.trim_matches('"')))
    };
    let names = [
        "tcpchan",
        "yamux",
        "tokio-yamux",
        "async_smux",
        "h2",
        "quinn",
        "qmux",
        "hyper",
        "tokio",
    ];
    names
        .into_iter()
        .filter_map(version)
        .collect::<Vec<_>>()
        .join(", ")
}
