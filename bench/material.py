"""What servers and callers share: keys, tokens, policies, and files of requests."""

import base64
import hashlib
import itertools
import json
import os
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

ROOT = Path(__file__).parent.parent
WORK = ROOT / ".cache/bench/run"

ISSUER = "https://login.example.com"
AUDIENCE = "glacier-gateway"
ACCOUNT = "111122223333"
REGION = "eu-central-1"
VAULT = "media-photos"
OTHER_VAULT = "finance-ledgers"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
#: The accounts of the gateway with many, each with a role, and the teams that work on them.
ACCOUNTS = [f"{444455550000 + n}" for n in range(100)]
TEAMS = [f"team-{n:02}" for n in range(20)]
COLD = 30_000
LIFETIME = 24 * 3600


def statement(sid, actions, *vaults, effect="Allow", **more):
    return {
        "Sid": sid,
        "Effect": effect,
        "Action": [f"glacier:{action}" for action in actions],
        "Resource": [f"arn:aws:glacier:*:{ACCOUNT}:vaults/{vault}" for vault in vaults],
        **more,
    }


CLEAN = ["AbortMultipartUpload", "ListMultipartUploads", "ListParts"]
LOOK = ["DescribeVault", "ListMultipartUploads", "ListParts"]
# The caller's team is media. The statement that allows its aborts is neither first nor
# last, and one deny has a condition.
POLICIES = {
    "media": [
        statement("Look", LOOK, "media-*"),
        statement("CleanUpAudio", CLEAN, "media-audio", "media-audio-*"),
        statement("CleanUpVideo", CLEAN, "media-video", "media-video-*"),
        statement("CleanUpPhotos", CLEAN, "media-photos", "media-photos-*"),
        statement("CleanUpScans", CLEAN, "media-scans-20??"),
        statement("LookAtShared", LOOK, "shared-*"),
        statement("CleanUpShared", CLEAN, "shared-media-*"),
        statement("KeepLegalHold", CLEAN, "media-legal-*", "media-*-hold", effect="Deny"),
        statement(
            "FromOurNetworks",
            ["AbortMultipartUpload"],
            "*",
            effect="Deny",
            Condition={"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}},
        ),
        {"Sid": "Find", "Effect": "Allow", "Action": "glacier:ListVaults", "Resource": "*"},
    ],
    "finance": [
        statement("CleanUpLedgers", CLEAN, "finance-ledgers", "finance-ledgers-*"),
        statement("Look", LOOK, "finance-*"),
        statement("KeepAudited", CLEAN, "finance-*-audited", effect="Deny"),
    ],
    "auditors": [statement("LookEverywhere", LOOK, "*")],
    "research": [
        statement("CleanUp", CLEAN, "research-*"),
        statement("KeepGenomes", CLEAN, "research-genomes-*", effect="Deny"),
    ],
    "platform": [statement("CleanUpShared", CLEAN, "shared-*", "platform-*")],
}


def write_folder(name, policies):
    for team, statements in policies.items():
        document = {"Version": "2012-10-17", "Statement": statements}
        path = WORK / f"{name}/teams/{team}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2))


def write_policies():
    """As the gateway's folder of documents, and without conditions as the peers' table; and
    for the gateway with many accounts, with a team's ten statements for each of its teams."""
    write_folder("policies", POLICIES)
    everywhere = [statement | {"Resource": [arn.replace(ACCOUNT, "*") for arn in arns]}
                  if isinstance(arns := statement["Resource"], list) else statement
                  for statement in POLICIES["media"]]
    write_folder("accounts-policies", POLICIES | dict.fromkeys(TEAMS, everywhere))
    table = {
        team: [
            {
                "effect": s["Effect"],
                "actions": [action.removeprefix("glacier:") for action in s["Action"]],
                "vaults": [arn.rpartition("/")[2] for arn in s["Resource"]],
            }
            for s in statements
            if "Condition" not in s and isinstance(s["Resource"], list)
        ]
        for team, statements in POLICIES.items()
    }
    (WORK / "policies.json").write_text(json.dumps(table, indent=2))


def write_keys():
    """A key for each algorithm; the same ones for as long as the folder is kept."""
    keys = {}
    for algorithm in ("ES256", "RS256"):
        path = WORK / f"{algorithm}.key.pem"
        if not path.exists():
            if algorithm == "ES256":
                key = ec.generate_private_key(ec.SECP256R1())
            else:
                key = rsa.generate_private_key(65537, 2048)
            path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            path.chmod(0o600)
        public = signing_key(algorithm).public_key()
        (WORK / f"{algorithm}.pem").write_bytes(
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
        keys[algorithm] = jwk | {"kid": algorithm, "alg": algorithm, "use": "sig"}
        keys[algorithm].pop("key_ops", None)
    (WORK / "jwks.json").write_text(json.dumps({"keys": list(keys.values())}))


@cache
def signing_key(algorithm):
    return load_pem_private_key((WORK / f"{algorithm}.key.pem").read_bytes(), None)


def token(algorithm, **other):
    """A token of the media team like no other, with `other` claims."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "media-cleaner",
        "aud": AUDIENCE,
        "client_id": "media-cleaner",
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + LIFETIME,
        "team": "media",
        **other,
    }
    headers = {"kid": algorithm, "typ": "at+jwt"}
    return jwt.encode(claims, signing_key(algorithm), algorithm, headers)


def tokens(algorithm, count):
    with ProcessPoolExecutor() as pool:
        return list(pool.map(token, itertools.repeat(algorithm, count), chunksize=500))


def forged(genuine):
    """`genuine` with another signature of the right form."""
    body, _, signature = genuine.rpartition(".")
    size = len(base64.urlsafe_b64decode(signature + "=="))
    # Below any modulus and any order of a curve, and not zero.
    noise = b"\x01" + os.urandom(size - 1)
    return body + "." + base64.urlsafe_b64encode(noise).rstrip(b"=").decode()


def upload_id(number):
    return f"{number:0>92}"


def uploads(vault=VAULT, account="-"):
    return f"/v1/accounts/{account}/vaults/{vault}/multipart-uploads"


def write_requests():
    """The files of requests that the scenarios send, made anew when tokens grow old."""
    stamp = WORK / "requests.stamp"
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < LIFETIME / 2
    if fresh and stamp.read_text() == digest:
        return

    def write(name, tokens, target=lambda n: f"{uploads()}/{upload_id(n)}", method="DELETE"):
        lines = (f"{method}\t{target(n)}\t{token}\n" for n, token in enumerate(tokens))
        (WORK / f"{name}.requests").write_text("".join(lines))

    one = {}
    for algorithm in ("ES256", "RS256"):
        print(f"signing {COLD} {algorithm} tokens", flush=True)
        first, *others = tokens(algorithm, 1 + COLD + 1000)
        name = algorithm.lower()
        one[algorithm] = first
        write(f"{name}-one", [first] * 1000)
        write(f"{name}-many", others[:1000])
        write(f"{name}-cold", others[1000:])
    first = one["ES256"]
    write("bad-one", [forged(first)] * 1000)
    write("bad-fresh", [forged(first) for _ in range(2 * COLD)])
    write("expired", [token("ES256", exp=int(time.time()) - 3600)])
    write("other-issuer", [token("ES256", iss="https://login.example.org")])
    write("other-audience", [token("ES256", aud="elsewhere")])
    write("other-team", [token("ES256", team="finance")])
    write("other-vault", [first] * 1000, lambda n: f"{uploads(OTHER_VAULT)}/{upload_id(n)}")
    # Each team in each account.
    each = [(account, team) for account in ACCOUNTS for team in TEAMS]
    of = {team: token("ES256", team=team, sub=team) for team in TEAMS}
    write("es256-accounts", [of[team] for _, team in each],
          lambda n: f"{uploads(account=each[n][0])}/{upload_id(n)}")
    pages = [f"{uploads()}?limit=50" + (f"&marker={start}" if start else "")
             for start in range(0, 1000, 50)]
    write("list", [first] * len(pages), pages.__getitem__, "GET")
    write("clear", [first] * 10_000)
    stamp.write_text(digest)


def request(name):
    """Method, target and token of the first request of a file."""
    with (WORK / f"{name}.requests").open() as file:
        return file.readline().rstrip("\n").split("\t")


def write_all():
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "ES256.key.pem").exists():
        (WORK / "requests.stamp").unlink(missing_ok=True)
    write_policies()
    write_keys()
    write_requests()
