#!/usr/bin/env bash
# Makes stand-ins for the Dockerfile's two base images where no image registry can
# be reached: the runtime from Debian's packages, the builder from Debian's
# packages and this machine's Rust toolchain. Like the originals, the runtime has a
# C library, certificates and a user 65532, and neither shell nor package manager.
#
# Needs root and Debian's package mirror. Makes
# localhost/glacier-gateway-{builder,runtime}:SUITE in buildah's storage; what is
# there already is kept.
set -euo pipefail

suite=trixie
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
builder=localhost/glacier-gateway-builder:$suite
runtime=localhost/glacier-gateway-runtime:$suite

{ command -v buildah && command -v mmdebstrap; } >/dev/null ||
    { apt-get update --quiet && apt-get install --quiet --yes buildah mmdebstrap; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exists() { buildah inspect --type image "$1" >/dev/null 2>&1; }

# debian VARIANT PACKAGES: a root file system at $work/root
debian() {
    rm -rf "$work/root"
    mmdebstrap --quiet --format=directory --variant="$1" --include="$2" \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        "$suite" "$work/root" "$mirror"
}

# image NAME [OPTION...]: makes $work/root the image NAME
image() {
    local name=$1 container
    shift
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$work/root" / >/dev/null
    buildah config "$@" "$container"
    buildah commit --quiet --rm "$container" "$name" >/dev/null
    echo "made $name"
}

if ! exists "$builder"; then
    debian minbase ca-certificates,gcc,libc6-dev
    rust=$(rustc --print sysroot)
    [ -x "$(rustc --print target-libdir)/../bin/llvm-profdata" ] || rustup component add llvm-tools
    mkdir -p "$work/root/usr/local/bin" "$work/root/usr/local/lib"
    cp "$rust/bin/cargo" "$rust/bin/rustc" "$work/root/usr/local/bin/"
    cp -r "$rust"/lib/. "$work/root/usr/local/lib/"
    # A proxy in front of the crate registry may have a certificate of its own.
    cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
    image "$builder" --env CARGO_HOME=/usr/local/cargo
fi

if ! exists "$runtime"; then
    debian extract libc6,libgcc-s1
    mkdir -p "$work/root"/{etc/ssl/certs,home/nonroot,tmp}
    chmod 1777 "$work/root/tmp"
    chown 65532:65532 "$work/root/home/nonroot"
    echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$work/root/etc/passwd"
    echo 'nonroot:x:65532:' >"$work/root/etc/group"
    cat /usr/share/ca-certificates/mozilla/*.crt >"$work/root/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$work/root"/{dev,proc,sys,var}
    # Where programs look for their loader; Debian makes these with base-files.
    ln -sfn usr/lib "$work/root/lib"
    ln -sfn usr/lib64 "$work/root/lib64"
    image "$runtime" --user 65532:65532 --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
