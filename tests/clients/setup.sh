#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: a browser and its driver, Prometheus, Go with
# its transparency log, Python packages under .cache, npm packages beside the tests; with the word
# `generators`, also what `make generated-clients` needs. Safe to repeat; what is up to
# date is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

debian_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "Install these with your system's package manager: $*" >&2
        exit 1
    fi
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --yes --no-install-recommends "$@"
}

# python_packages DIRECTORY REQUIREMENTS
python_packages() {
    if ! cmp --silent "$2" "$1/installed.txt"; then
        rm -rf "$1"
        python3 -m venv "$1"
        "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"
        cp "$2" "$1/installed.txt"
    fi
}

npm_packages() {
    local lock=tests/clients/package-lock.json modules=tests/clients/node_modules
    if ! cmp --silent "$lock" "$modules/installed.json"; then
        npm ci --prefix tests/clients --no-audit --no-fund --loglevel error
        cp "$lock" "$modules/installed.json"
    fi
}

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
command -v faketime >/dev/null || missing+=(faketime)
command -v strace >/dev/null || missing+=(strace)
[ -x /usr/sbin/haproxy ] || missing+=(haproxy)
command -v jq >/dev/null || missing+=(jq)
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing+=(prometheus)
# Debian keeps the server's programs out of the path.
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
[ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
# The audit trail is verified with Go's own implementation of a transparency log.
command -v go >/dev/null || missing+=(golang-go)
[ -d /usr/share/gocode/src/golang.org/x/mod/sumdb ] || missing+=(golang-golang-x-mod-dev)
# Debian's python3 comes without the means to make environments.
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${1-}" = generators ]; then
    command -v javac >/dev/null || missing+=(default-jdk-headless)
fi
[ ${#missing[@]} -eq 0 ] || debian_packages "${missing[@]}"

python_packages .cache/venv tests/clients/requirements.txt
python_packages .cache/awscli tests/clients/requirements-awscli.txt
npm_packages
if [ "${1-}" = generators ]; then
    python_packages .cache/generators tests/clients/requirements-generators.txt
fi
