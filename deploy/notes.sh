#!/usr/bin/env bash
# notes.sh VERSION: prints what CHANGELOG.md says of a version; fails if it says nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
notes=$(awk -v version="$1" '
    /^## \[/ { told = index($0, "## [" version "] - ") == 1; next }
    told
' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ]
sed '/./,$!d' <<<"$notes"
