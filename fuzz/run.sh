#!/usr/bin/env bash
# Runs a fuzz target on the stable toolchain, which cargo-fuzz does not:
#   fuzz/run.sh decoder -max_total_time=20
#   fuzz/run.sh decoder fuzz/artifacts/decoder/crash-...
# Without a target, each of them for SECONDS_EACH (20) seconds. New inputs are
# kept in fuzz/new/, crashes in fuzz/artifacts/.
set -euo pipefail
if [ $# -gt 1 ] && [ -f "$2" ]; then
    set -- "$1" "$(realpath "$2")"
fi
cd "$(dirname "$0")"
# What cargo-fuzz passes too, but for the address sanitizer: the crate has no unsafe code.
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table"
# Large buffers come and go with each input: the pages stay.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}/fuzz
cargo build --quiet --locked --release --target "$host" --target-dir "$target"

fuzz() { # target, options
    local name=$1
    shift
    mkdir -p "new/$name" "artifacts/$name"
    if [ -f "${1:-}" ]; then
        "$target/$host/release/$name" "$1"
    else
        "$target/$host/release/$name" -artifact_prefix="artifacts/$name/" -max_len=512 \
            -timeout=20 -entropic=0 "$@" "new/$name" "corpus/$name"
    fi
}

if [ $# -gt 0 ]; then
    fuzz "$@"
else
    for name in decoder core_bytes core_model two_cores; do
        printf '\n%s\n' "$name"
        fuzz "$name" -max_total_time="${SECONDS_EACH:-20}" -print_final_stats=1
    done
fi
