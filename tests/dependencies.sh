#!/usr/bin/env bash
# The tree of the default dependencies is the one in the guide.
set -euo pipefail
cd "$(dirname "$0")/.."
page=src/guide/dependencies.md
tree=$(cargo tree --locked --edges normal --target x86_64-unknown-linux-gnu |
    sed -E 's/ v[0-9][^ ]*//; s/ \((\/.*|proc-macro)\)//g')
shown=$(sed -n '/^```text$/,/^```$/p' "$page" | sed '1d;$d')
if [ "$tree" != "$shown" ]; then
    echo "$page should have this tree, and its table a reason for each direct dependency:" >&2
    echo "$tree" >&2
    exit 1
fi
cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
[crate] = json.load(sys.stdin)["packages"]
print(*{needs["name"] for needs in crate["dependencies"] if needs["kind"] is None}, sep="\n")
' | while read -r name; do
    if ! grep -q "^| .*\`$name\`.* |" "$page"; then
        echo "$page gives no reason for $name" >&2
        exit 1
    fi
done
