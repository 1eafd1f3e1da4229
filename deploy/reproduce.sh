#!/usr/bin/env bash
# Builds the program of the last commit twice, in two new folders of which one has a space in
# its name, and compares the bytes. Takes twice as long as a release; with
# CARGO_PROFILE_RELEASE_LTO=off a third of that.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in "$work/one" "$work/another folder"; do
    mkdir -p "$folder"
    git archive HEAD | tar -x -C "$folder"
    # What is installed for the build is the same anyway.
    mkdir -p "$folder/.cache" .cache/tools
    cp -r .cache/tools "$folder/.cache/"
    "$folder/deploy/release.sh"
    mv "$folder/target/shipped/glacier-gateway" "$folder.program"
    rm -rf "$folder"
done
sha256sum "$work"/*.program
cmp "$work"/*.program
