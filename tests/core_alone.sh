#!/usr/bin/env bash
# The sans-IO example runs without features, and the crate is then as small as
# its docs say. In a package of its own, since this one's examples have features
# turned on.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
alone=${CARGO_TARGET_DIR:-$root/target}/core-alone
mkdir -p "$alone"
cat >"$alone/Cargo.toml" <<EOF
[package]
name = "core-alone"
version = "0.0.0"
edition = "2024"
[workspace]
[dependencies]
tcpchan = { path = "$root", default-features = false }
[[bin]]
name = "sans_io"
path = "$root/examples/sans_io.rs"
EOF
cp Cargo.lock "$alone/Cargo.lock" # the same versions
cd "$alone"
cargo run --quiet --target-dir "$alone/target"
depends=$(cargo tree --edges normal --prefix none | cut -d' ' -f1 | sort -u | tr '\n' ' ')
if [ "$depends" != "bytes core-alone slab tcpchan " ]; then
    echo "the core depends on: $depends" >&2
    exit 1
fi
