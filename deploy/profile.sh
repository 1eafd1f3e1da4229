#!/usr/bin/env bash
# Makes deploy/trial.profile.gz anew, by which deploy/release.sh arranges the program: builds
# one that counts what it does, and has it do for some seconds what it is for (deploy/trial.sh;
# the rustc book, "Profile-guided Optimization").
#
# Commit the result: it is an input of a release, like the sources. Needs OpenSSL, and of
# rustup the component llvm-tools, which is added if missing.
set -euo pipefail
cd "$(dirname "$0")/.."

trial=$PWD/target/trial
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
[ -x "$profdata" ] || rustup component add llvm-tools

# As a release is built, link-time optimization included: a profile knows functions by the
# compiler's names for them, of which each setting of Cargo's profile makes others.
deploy/build.sh "$trial" -Cprofile-generate
cargo build --release --locked --manifest-path bench/tools/Cargo.toml
deploy/trial.sh "$trial/glacier-gateway" "$trial/run"
"$profdata" merge --sparse --output "$trial/profile" "$trial"/run/*.profraw
gzip --no-name --best --stdout "$trial/profile" >deploy/trial.profile.gz
{
    echo "made $(date --utc +%F)"
    echo "of $(git rev-parse HEAD)"
    echo "with $(rustc --version)"
    echo "main $(grep --text --only-matching '_ZN15glacier_gateway4main17h[0-9a-f]\{16\}E' \
        "$trial/glacier-gateway" | sort --unique)"
} | tee deploy/trial.profile.txt
