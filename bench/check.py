"""Before anything is timed: does a server do what it is timed for? Callers get the right
statuses, and Glacier gets the right request, with a signature that holds."""

import hashlib
import hmac
import re
import urllib.error
import urllib.parse
import urllib.request

from material import AWS, REGION, request, upload_id
from processes import Failed
from servers import PORT, UPSTREAM


def status(method, target, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{PORT}{target}"
    call = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=10) as reply:
            reply.read()
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def check(server):
    """Raises `Failed` with what is wrong."""
    # Envoy says 403 to another audience.
    refused = (401, 403)
    expected = {"es256-one": (204,), "rs256-one": (204,)}
    if server.judges:
        expected |= dict.fromkeys(["expired", "other-issuer", "other-audience"], refused)
        expected |= {"bad-one": (401,), "other-vault": (403,), "other-team": (403,)}
    for name, codes in expected.items():
        seen = status(*request(name))
        if seen not in codes:
            raise Failed(f"{server.name} answers {seen} to {name}, not {codes[0]}")
    if server.judges and (seen := status(*request("es256-one")[:2], None)) not in refused:
        raise Failed(f"{server.name} answers {seen} without a token")
    if server.name != "upstream":
        check_forwarded(server)


def check_forwarded(server):
    method, target, token = request("es256-one")
    status(method, target, token)
    with urllib.request.urlopen(f"http://127.0.0.1:{UPSTREAM}/last-request") as reply:
        raw = reply.read().decode()
    line, *fields = raw.removesuffix("\r\n\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, value in (f.split(":", 1) for f in fields)}
    path = line.split()[1]
    if not re.fullmatch(rf"/(-|\d{{12}})/vaults/[^/]+/multipart-uploads/{upload_id(0)}", path):
        raise Failed(f"{server.name} forwards to {path}")
    if headers.get("x-amz-glacier-version") != "2012-06-01":
        raise Failed(f"{server.name} forwards no x-amz-glacier-version")
    if token in raw:
        raise Failed(f"{server.name} forwards the caller's token")
    if server.signs and not signed(line.split()[0], path, headers):
        raise Failed(f"{server.name} forwards a request whose signature does not hold")


def signed(method, path, headers):
    """Whether a bodiless request has the right Signature Version 4 ("Create a signed AWS API
    request" in AWS's IAM User Guide)."""
    pattern = r"AWS4-HMAC-SHA256 Credential=[^/]+/(.*), ?SignedHeaders=(.*), ?Signature=(.*)"
    found = re.fullmatch(pattern, headers.get("authorization", ""))
    if not found:
        return False
    scope, names, signature = found.groups()
    empty = hashlib.sha256().hexdigest()
    canonical = "\n".join([
        method,
        urllib.parse.quote(path),
        "",
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names.split(";")),
        "",
        names,
        headers.get("x-amz-content-sha256", empty),
    ])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    key = ("AWS4" + AWS["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    right_host = headers["host"] == f"127.0.0.1:{UPSTREAM}"
    right_service = scope.split("/")[1:] == [REGION, "glacier", "aws4_request"]
    needed = {"host", "x-amz-date", "x-amz-glacier-version"} <= set(names.split(";"))
    return right_host and right_service and needed and key.hex() == signature
