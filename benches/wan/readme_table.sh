#!/usr/bin/env bash
# The table of the crate's README: about 9 minutes.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --locked
run() { target/release/wan "$@" --ways tcpchan,h1-pool,h2-large,quic; }
run small burst-50 burst-200 1mib 1mib-idle-2s 16mib 50x64k beside \
    --cc cubic --loss 0 --rounds 3
run 50x64k --cc cubic --loss 0.01 --rounds 3
run 1mib 16mib --cc bbr --loss 0 --rounds 3
