//! How this program was built, which the figures depend on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};

const MIMALLOC: bool = cfg!(feature = "mimalloc");

/// The name of the profile, which cargo gives the folder of the binary.
fn profile() -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let folder = program.parent().and_then(|folder| folder.file_name());
    let name = folder.and_then(|name| name.to_str());
    Ok(name.context("no name of a profile")?.to_owned())
}

/// What is behind the names of the results: there is a table of each of two builds.
pub fn suffix() -> anyhow::Result<&'static str> {
    match (profile()?.as_str(), MIMALLOC) {
        ("release", true) => Ok(""),
        ("default-release", false) => Ok("-default"),
        (profile, _) => bail!("{profile} with mimalloc {MIMALLOC} has no table; see README.md"),
    }
}

/// The build, in words.
pub fn describe() -> anyhow::Result<String> {
    let allocator = match MIMALLOC {
        true => "mimalloc",
        false => "the system's allocator",
    };
    Ok(format!("Profile `{}`, {allocator}.", profile()?))
}

/// Builds another binary of this package in the same way and tells where it is.
pub fn other(name: &str) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--bin", name])
        .args(["--profile", &profile()?])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if !MIMALLOC {
        command.arg("--no-default-features");
    }
    ensure!(command.status()?.success(), "{name} does not build");
    Ok(std::env::current_exe()?.with_file_name(name))
}
