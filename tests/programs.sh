#!/usr/bin/env bash
# Installs, on Debian, the programs that ignored tests and checks run and that
# are not there yet.
set -euo pipefail
missing=()
for pair in curl:curl wrk:wrk haproxy:haproxy nginx:nginx-core psql:postgresql-client \
    prometheus:prometheus valgrind:valgrind tinyproxy:tinyproxy microsocks:microsocks \
    chromium:chromium chromedriver:chromium-driver; do
    command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
done
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit
if [ "$(id -u)" -ne 0 ]; then
    echo "to be installed as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
