"""What a team writes in an afternoon with FastAPI, PyJWT and boto3.

Keys are parsed once, Glacier's connections are pooled and kept, and boto3's blocking
calls run on FastAPI's pool of threads. It writes no access log.
"""

import fnmatch
import json
import os
from pathlib import Path

import boto3
import jwt
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

KEYS = {
    key.key_id: key for key in jwt.PyJWKSet.from_json(Path(os.environ["JWKS"]).read_text()).keys
}
POLICIES = json.loads(Path(os.environ["POLICIES"]).read_text())
glacier = boto3.client(
    "glacier",
    region_name=os.environ["AWS_REGION"],
    endpoint_url=os.environ["GLACIER"],
    config=Config(max_pool_connections=256, retries={"mode": "standard"}),
)
bearer = HTTPBearer(auto_error=False)


app = FastAPI()


async def team(credentials: HTTPAuthorizationCredentials | None = Depends(bearer)) -> str:
    try:
        token = credentials.credentials
        key = KEYS[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm_name],
            issuer=os.environ["ISSUER"],
            audience=os.environ["AUDIENCE"],
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims["team"]
    except (jwt.PyJWTError, AttributeError, KeyError) as error:
        raise HTTPException(401, "invalid token") from error


def authorize(team: str, action: str, vault: str) -> None:
    """Default deny; an explicit deny wins."""
    matching = {
        statement["effect"]
        for statement in POLICIES.get(team, [])
        if action in statement["actions"]
        and any(fnmatch.fnmatchcase(vault, pattern) for pattern in statement["vaults"])
    }
    if matching != {"Allow"}:
        raise HTTPException(403, f"{action} on {vault} is not allowed")


def call(operation, **parameters):
    try:
        return operation(**parameters)
    except ClientError as error:
        raise HTTPException(502, error.response["Error"]["Code"]) from error


UPLOADS = "/v1/accounts/{account}/vaults/{vault}/multipart-uploads"


@app.delete(UPLOADS + "/{upload_id}", status_code=204)
def abort(account: str, vault: str, upload_id: str, team: str = Depends(team)) -> Response:
    authorize(team, "AbortMultipartUpload", vault)
    call(
        glacier.abort_multipart_upload, accountId=account, vaultName=vault, uploadId=upload_id
    )
    return Response(status_code=204)


@app.get(UPLOADS)
def uploads(
    account: str,
    vault: str,
    limit: int | None = None,
    marker: str | None = None,
    team: str = Depends(team),
) -> dict:
    authorize(team, "ListMultipartUploads", vault)
    page = {"limit": limit and str(limit), "marker": marker}
    reply = call(
        glacier.list_multipart_uploads,
        accountId=account,
        vaultName=vault,
        **{name: value for name, value in page.items() if value is not None},
    )
    return {"uploads": reply["UploadsList"], "marker": reply.get("Marker")}
