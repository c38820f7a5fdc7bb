#!/usr/bin/env bash
# The layers point one way (wire <- proto) and neither knows a
# runtime, a socket or the clock.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
forbid() { # folder, pattern, why
    if [ -d "src/$1" ] && grep -rnE "$2" "src/$1" --include='*.rs' | grep -vE ':[0-9]+: *//'; then
        echo "src/$1 $3" >&2
        bad=1
    fi
}
forbid wire 'crate::(proto|driver|client|server|config)' 'imports a layer above it'
forbid proto 'crate::(driver|client|server)' 'imports a layer above it'
for layer in wire proto; do
    forbid "$layer" 'tokio|std::net|Instant::now|SystemTime|std::thread' 'knows a runtime, a socket or the clock'
done
exit $bad
