#!/usr/bin/env bash
# build.sh FOLDER FLAG: builds the program for release into FOLDER/glacier-gateway, with a
# flag for the compiler in addition. The same sources, toolchain and C library shall make the
# same bytes wherever they lie (docs/releasing.md, "Reproduce"). The program carries the list
# of its crates (cargo-auditable), which scanners read.
#
# Cargo's own variables (CARGO_PROFILE_RELEASE_LTO and so on) say what is else.
set -euo pipefail
folder=$(realpath --canonicalize-missing "$1")
flag=$2
cd "$(dirname "$0")/.."

auditable=0.7.7
tools=$PWD/.cache/tools
cargo_home=${CARGO_HOME:-$HOME/.cargo}
host=$(rustc --version --verbose | sed -n 's/^host: //p')
commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')

export PATH=$tools/bin:$PATH
cargo install --quiet --locked --root "$tools" \
    --version "$auditable" cargo-auditable

# Of two flags that fit, the last one counts. The flags are separated as Cargo wants it, so
# that a path may have spaces.
flags=(
    --remap-path-prefix="$cargo_home=/cargo"
    --remap-path-prefix="$PWD=/glacier-gateway"
    --remap-path-prefix="$folder=/glacier-gateway/target"
    --remap-path-prefix="$(rustc --print sysroot)/lib/rustlib/src/rust=/rustc/$commit"
    "$flag"
)
[ -z "${RUSTFLAGS-}" ] || read -ra more <<<"$RUSTFLAGS"
printf -v encoded '%s\x1f' "${flags[@]}" "${more[@]}"
export CARGO_ENCODED_RUSTFLAGS=${encoded%$'\x1f'}

# The same for what is written in C.
printf -v CFLAGS '%s -ffile-prefix-map=%q=/cargo -ffile-prefix-map=%q=/target' \
    "${CFLAGS-}" "$cargo_home" "$folder"
export CFLAGS CC_SHELL_ESCAPED_FLAGS=1

# mimalloc has in it when it was compiled. C compilers take this time instead
# (reproducible-builds.org, "SOURCE_DATE_EPOCH").
SOURCE_DATE_EPOCH=$(date --utc --date "$(sed -n 's/^made //p' deploy/trial.profile.txt)" +%s)
export SOURCE_DATE_EPOCH

# `cargo auditable` would name itself by its path, which Cargo makes part of every name in
# the program. So it is called as Cargo would call it, by its name.
export RUSTC_WORKSPACE_WRAPPER=cargo-auditable
export CARGO_AUDITABLE_ORIG_ARGS='{"offline":false,"locked":true,"frozen":false,"config":[]}'

# With a target, so that the flags do not concern build scripts.
cargo build --release --locked --no-default-features --target "$host" --target-dir "$folder"
cp "$folder/$host/release/glacier-gateway" "$folder/"
