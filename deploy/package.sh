#!/usr/bin/env bash
# package.sh VERSION: makes a release of the last commit in dist/VERSION, and pushes nothing:
# the image, the program in it, the chart, a list of the crates, the notes, where it all comes
# from, checksums and, with RELEASE_KEY, a signature. See docs/releasing.md.
#
# All files but the program and what holds it are the same each time, if this machine's helm and
# buildah are (docs/releasing.md, "Reproduce").
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1
revision=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
name=glacier-gateway-$version
image=localhost/glacier-gateway:$version
dist=$PWD/dist/$version
tools=$PWD/.cache/tools
: "${BUILDER_IMAGE:=localhost/glacier-gateway-builder:trixie}"
: "${RUNTIME_IMAGE:=localhost/glacier-gateway-runtime:trixie}"

main=$(sed -n 's/^main //p' deploy/trial.profile.txt)
refuse() { echo "no release: $*" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || refuse "there are changes that are not committed"
[ -z "${RELEASE_KEY-}" ] || [ -r "$RELEASE_KEY" ] || refuse "RELEASE_KEY cannot be read"
notes=$(deploy/notes.sh "$version") || refuse "CHANGELOG.md does not tell of $version"

# archive FILE FOLDER NAME…: a tar file that tells nothing of this machine and moment.
archive() {
    tar --create --file "$1" --directory "$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "${@:3}"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$dist"
mkdir -p "$dist"
echo "$notes" >"$dist/$name-notes.md"

read -ra options <<<"${BUILD_OPTIONS-}"
buildah build --isolation chroot --pull-never --layers --timestamp "$SOURCE_DATE_EPOCH" \
    --build-arg BUILDER_IMAGE="$BUILDER_IMAGE" --build-arg RUNTIME_IMAGE="$RUNTIME_IMAGE" \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    "${options[@]}" --tag "$image" .
buildah push --quiet --format oci "$image" "oci:$work/image:$version"
archive "$dist/$name-image.oci.tar" "$work/image" .

# The program is the image's own: there is one build.
for layer in "$work"/image/blobs/sha256/*; do
    tar -xzf "$layer" -C "$work" usr/local/bin/glacier-gateway 2>/dev/null || true
done
host=$(rustc --version --verbose | sed -n 's/^host: //p')
cp "$work/usr/local/bin/glacier-gateway" "$work/glacier-gateway"
[ -n "${BUILD_OPTIONS-}" ] || grep --quiet --text --fixed-strings "$main" "$work/glacier-gateway" ||
    refuse "the profile of the trial is not of this program; deploy/profile.sh makes a new one"
archive "$work/program.tar" "$work" glacier-gateway
gzip --no-name --best --stdout "$work/program.tar" >"$dist/$name-$host.tar.gz"

# helm writes the time into its packages, so they are packed anew.
.cache/chart/bin/helm package --destination "$work" helm/glacier-gateway >/dev/null
mkdir "$work/chart"
tar -xzf "$work/$name.tgz" -C "$work/chart"
archive "$work/chart.tar" "$work/chart" glacier-gateway
gzip --no-name --best --stdout "$work/chart.tar" >"$dist/$name-chart.tgz"

cargo install --quiet --locked --root "$tools" \
    --version 0.5.9 cargo-cyclonedx
PATH=$tools/bin:$PATH cargo cyclonedx --quiet --format json --no-default-features \
    --target "$host" --override-filename glacier-gateway.cdx
mv glacier-gateway.cdx.json "$dist/$name.cdx.json"

base() { buildah inspect --type image --format '{{.FromImageDigest}}' "$1"; }
python3 deploy/provenance.py "$version" "$revision" "$dist" \
    "$BUILDER_IMAGE=$(base "$BUILDER_IMAGE")" "$RUNTIME_IMAGE=$(base "$RUNTIME_IMAGE")" \
    >"$work/provenance.json"
mv "$work/provenance.json" "$dist/$name-provenance.json"

(cd "$dist" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
if [ -n "${RELEASE_KEY-}" ]; then
    openssl pkeyutl -sign -rawin -inkey "$RELEASE_KEY" -in "$dist/SHA256SUMS" \
        -out "$dist/SHA256SUMS.sig"
else
    echo "warning: without RELEASE_KEY nothing is signed" >&2
fi
cat "$dist/SHA256SUMS"
