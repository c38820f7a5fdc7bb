#!/usr/bin/env bash
# What goes to crates.io builds from what is packed alone: the library, its examples and
# its tests, with the default features and with all.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo package --locked --allow-dirty --no-verify --quiet
version=$(sed -n '0,/^version = "\(.*\)"/s//\1/p' Cargo.toml)
tar -xzf "$target/package/tcpchan-$version.crate" -C "$target/package"
cd "$target/package/tcpchan-$version"
cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
[crate] = json.load(sys.stdin)["packages"]
wanted = ["categories", "description", "documentation", "keywords", "license", "readme"]
missing = [key for key in wanted if not crate[key]]
tests = [target for target in crate["targets"] if target["kind"] == ["test"]]
free = [test["name"] for test in tests if not test.get("required-features")]
if missing or free:
    sys.exit(f"Cargo.toml lacks {missing}, and required-features of the tests {free}")
'
for features in "" --all-features; do
    cargo check --locked --quiet --all-targets $features --target-dir "$target"
done
