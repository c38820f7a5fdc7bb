#!/usr/bin/env bash
# The conformance kit against the peer in tests/python/v1, in both roles at once, and the
# conversations of an echo server.
set -euo pipefail
cd "$(dirname "$0")/.."

kit() { cargo run --locked --quiet --manifest-path conformance/Cargo.toml -- --strict "$@"; }
peer() { cd tests/python && exec python3 -B -m v1 "$@"; }

exec {server}< <(peer serve 127.0.0.1:0)
pids=$!
trap 'kill $pids 2>/dev/null || true' EXIT
read -r _ _ address <&"$server"
python3 -B tests/python/replay.py "${address%:*}" "${address#*:}"

exec {listening}< <(kit --listen 127.0.0.1:0)
listener=$!
read -r _ _ _ _ _ to <&"$listening"
peer connect "$to" & # it ends with an error when the kit goes
pids+=" $!"

printf 'as a server, at %s\n' "$address"
kit "$address"
printf '\nas a client, of %s\n' "$to"
cat <&"$listening"
wait "$listener"
