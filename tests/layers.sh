#!/usr/bin/env bash
# The layers point one way (wire, proto, driver, client and server) and wire and proto
# know no runtime, a socket or the clock.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
forbid() { # folder, pattern, why
    local files
    files=$(find "src/$1" "src/$1.rs" -name '*.rs' ! -name tests.rs 2>/dev/null || true)
    # Not what is behind the start of a file's own tests.
    if awk 'FNR == 1 { tests = 0 } /^#\[cfg\(test\)\]/ { tests = 1 } !tests { print FILENAME ":" FNR ":" $0 }' $files |
        grep -E ":[0-9]+:.*($2)" | grep -vE ':[0-9]+: *//'; then
        echo "src/$1 $3" >&2
        bad=1
    fi
}
forbid wire 'crate::(check|proto|config|socket|driver|client|server)' 'imports a layer above it'
forbid proto 'crate::(config|socket|driver|client|server)' 'imports a layer above it'
forbid observability 'crate::(driver|client|server)' 'imports a layer above it'
forbid check 'crate::' 'imports another'
forbid config 'crate::(driver|client|server)' 'imports a layer above it'
forbid driver 'crate::(client|server)' 'imports a layer above it'
forbid client 'crate::server' 'imports its sibling'
forbid server 'crate::client' 'imports its sibling'
for layer in wire proto; do
    forbid "$layer" 'tokio|std::net|Instant::now|SystemTime|std::thread' 'knows a runtime, a socket or the clock'
done
exit $bad
