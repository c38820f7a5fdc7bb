#!/usr/bin/env bash
# The command, installed as a user installs it, in front of a web server.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$folder"' EXIT
cargo install --locked --quiet --debug --no-track --path . --features cli --root "$folder"
PATH=$folder/bin:$PATH

# What a log says of the address.
address() {
    until grep -q listening "$1"; do sleep 0.1; done
    sed -n 's/.*listening address=//p' "$1"
}

echo "hello from behind" > "$folder/page"
python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$folder" > "$folder/web" 2>&1 &
until grep -q 'port [0-9]' "$folder/web"; do sleep 0.1; done
web=127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$folder/web")
tcpchan serve --listen 127.0.0.1:0 --to "$web" 2> "$folder/serve" &
serve=$(address "$folder/serve")
tcpchan relay --listen 127.0.0.1:0 --to "$serve" --stats=3600 2> "$folder/relay" &
relay=$!
curl -sS --fail "http://$(address "$folder/relay")/page"
tcpchan ping "$serve" -c 3 -i 0.1
tcpchan --version
tcpchan completions bash | bash -n
tcpchan man relay | grep -q '^.TH TCPCHAN-RELAY'
kill $relay
wait $relay # fails unless its exit code is 0
