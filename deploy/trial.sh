#!/usr/bin/env bash
# trial.sh PROGRAM FOLDER: has the program do for some seconds what it is for, and notes
# in the folder what it did, if it was built for that. Not a benchmark: see bench/.
set -euo pipefail

program=$1 folder=$2
cd "$(dirname "$0")/.."
tools=bench/tools/target/release
listen=127.0.0.1:18180 management=127.0.0.1:18181 upstream=18182
begun=$(date +%s)

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# token ID: of the media team, for an hour, signed with RS256.
token() {
    local head body
    head='{"alg":"RS256","kid":"trial","typ":"at+jwt"}'
    body='{"iss":"https://login.example.com","aud":"trial","sub":"trial","client_id":"trial"'
    body+=",\"team\":\"media\",\"jti\":\"$1\",\"iat\":$begun,\"exp\":$((begun + 3600))}"
    body=$(base64url <<<"$head").$(base64url <<<"$body")
    echo "$body.$(printf %s "$body" | openssl dgst -sha256 -sign "$folder/key.pem" | base64url)"
}

keys() {
    local modulus
    openssl genrsa -out "$folder/key.pem" 2048 2>/dev/null
    modulus=$(openssl rsa -in "$folder/key.pem" -noout -modulus)
    modulus=$(sed 's/../\\x&/g' <<<"${modulus#*=}")
    printf '{"keys":[{"kid":"trial","alg":"RS256","use":"sig","kty":"RSA","e":"AQAB","n":"%s"}]}' \
        "$(printf '%b' "$modulus" | base64url)" >"$folder/jwks.json"
}

# requests: files of a hundred, a line each, as the load generator reads them.
requests() {
    local number upload first before now
    local media=/v1/accounts/-/vaults/media-photos/multipart-uploads
    local finance=/v1/accounts/-/vaults/finance-ledgers/multipart-uploads
    first=$(token 0)
    now=$first
    for number in {1..100}; do
        upload=$(printf '%092d' "$number")
        before=$now
        now=$(token "$number")
        printf 'DELETE\t%s\t%s\n' "$media/$upload" "$first" >&3
        printf 'DELETE\t%s\t%s\n' "$media/$upload" "$now" >&4
        printf 'DELETE\t%s\t%s\n' "$media/$upload" "${now%.*}.${before##*.}" >&5
        printf 'DELETE\t%s\t%s\n' "$finance/$upload" "$first" >&6
        printf 'GET\t%s\t%s\n' "$media" "$first" >&7
    done 3>"$folder/one" 4>"$folder/many" 5>"$folder/forged" 6>"$folder/denied" 7>"$folder/list"
}

settings() {
    cat >"$folder/config.toml" <<EOF
[server]
listen = "$listen"
management_listen = "$management"
[aws]
region = "eu-central-1"
account_id = "111122223333"
endpoint_url = "http://127.0.0.1:$upstream"
[policy]
directory = "examples/policies"
[issuers.trial]
issuer = "https://login.example.com"
audiences = ["trial"]
jwks_file = "$folder/jwks.json"
EOF
}

# load REQUESTS SECONDS STATUS: sends a file's requests again and again. Whatever else is
# answered, the trial would be of the wrong thing.
load() {
    local answers
    answers=$("$tools/load" --to=$listen --requests="$folder/$1" --connections=64 --seconds="$2")
    grep --quiet "\"statuses\":{\"$3\":[0-9]*}" <<<"$answers" || {
        echo "trial: $1: $answers" >&2
        exit 1
    }
}

# serve CACHED: runs the program, which remembers so many tokens, until `stop`.
serve() {
    GATEWAY__TOKENS__CACHE_SIZE=$1 "$program" serve --config "$folder/config.toml" \
        2>"$folder/log" &
    server=$!
    until "$program" healthcheck --ready --address $management >"$folder/health" 2>&1; do
        kill -0 "$server" || { cat "$folder/log" >&2; exit 1; }
        sleep 0.1
    done
}

stop() {
    kill "$server"
    wait "$server"
}

rm -rf "$folder"
mkdir -p "$folder"
keys
requests
settings
export LLVM_PROFILE_FILE="$folder/%p.profraw"
export AWS_ACCESS_KEY_ID=trial AWS_SECRET_ACCESS_KEY=trial AWS_EC2_METADATA_DISABLED=true
"$tools/upstream" --port=$upstream --delay-ms=0 --uploads=1000 &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
serve 10000
load one 10 204
load many 3 204
load denied 1 403
load list 2 200
stop
serve 0
load many 3 204
load forged 2 401
stop
