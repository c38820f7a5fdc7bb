#!/usr/bin/env bash
# The dependencies at the lowest versions that Cargo.toml states: the crate
# builds with them and passes some of its tests.
set -euo pipefail
cd "$(dirname "$0")/.."
manifest=tests/lowest/Cargo.toml
cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
[crate] = json.load(sys.stdin)["packages"]
for needs in crate["dependencies"]:
    if needs["kind"] is None:
        print(needs["name"], needs["req"].lstrip("^"))
' | while read -r name version; do
    if ! grep -qE "^$name = .*\"=$version\"" "$manifest"; then
        echo "$manifest should have $name at =$version" >&2
        exit 1
    fi
done
cargo test --quiet --locked --manifest-path "$manifest" --target-dir "${CARGO_TARGET_DIR:-target}/lowest"
