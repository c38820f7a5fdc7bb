#!/usr/bin/env bash
# The minimum supported Rust version: none of what the crate depends on needs a
# newer one, clippy's `incompatible_msrv` (in .ci/run's clippy step) finds no
# newer API, and where that very toolchain is installed it builds the crate.
set -euo pipefail
cd "$(dirname "$0")/.."
msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
cargo metadata --locked --format-version 1 --all-features | python3 -c '
import json, sys
def number(version): return tuple(map(int, version.split("."))) + (0,)
newer = [(p["name"], p["rust_version"]) for p in json.load(sys.stdin)["packages"]
         if number(p["rust_version"] or "1.0")[:2] > number(sys.argv[1])[:2]]
sys.exit(f"these need more than Rust {sys.argv[1]}: {newer}" if newer else 0)
' "$msrv"
if rustup toolchain list 2>/dev/null | grep -q "^$msrv"; then
    cargo "+$msrv" check --locked --all-features
else
    echo "Rust $msrv is not installed here: checked by lint and by the dependencies' own versions"
fi
