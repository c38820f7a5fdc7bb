#!/usr/bin/env bash
# What each folder of src may import, and no circle of files in src, the command or the
# benches: the rules are in layers.py.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 tests/layers.py
