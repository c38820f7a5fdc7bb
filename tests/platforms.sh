#!/usr/bin/env bash
# The library compiles for Windows and macOS, without TLS: rustls's ring needs their C compilers.
# No test runs there.
set -euo pipefail
cd "$(dirname "$0")/.."
features=axum,metrics,proxy-protocol,requests,retry,tonic,tracing
for target in x86_64-pc-windows-gnu aarch64-apple-darwin; do
    if timeout 120 rustup --quiet target add "$target"; then
        RUSTFLAGS="-D warnings" cargo check --locked --lib --target "$target" --features "$features"
    else
        echo "$target: not checked, its standard library can't be had"
    fi
done
