#!/usr/bin/env bash
# The command without shared libraries, in a folder with nothing else, as the Dockerfile's
# image is. Builds with musl as the Dockerfile does, or with glibc if musl can't be had. Needs
# root for chroot and Debian for musl's compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
if ! timeout 120 rustup --quiet target add "$target" ||
    ! { command -v musl-gcc || apt-get install --yes --quiet musl-tools; } > /dev/null; then
    echo "musl can't be had: glibc takes its place"
    target=$(rustc -vV | sed -n 's/host: //p')
fi
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$folder"' EXIT
RUSTFLAGS="-C target-feature=+crt-static" TCPCHAN_COMMIT=$(git rev-parse HEAD 2> /dev/null || true) \
    cargo build --locked --quiet --target "$target" --features cli --bin tcpchan
cp "${CARGO_TARGET_DIR:-target}/$target/debug/tcpchan" "$folder"
mkdir "$folder/etc"
echo "127.0.0.1 here" > "$folder/etc/hosts"
alone() { chroot "$folder" /tcpchan "$@"; }

alone --version
alone serve --listen 127.0.0.1:0 --to 127.0.0.1:1 2> "$folder/serve" &
until grep -q listening "$folder/serve"; do sleep 0.1; done
port=$(sed -n 's/.*listening.*:\([0-9]*\)$/\1/p' "$folder/serve")
# By a name, which the C library looks up: nothing is behind it, and it says so.
alone ping "here:$port" -c 1 | tee "$folder/ping" || true
grep -q "refused the channel" "$folder/ping"
