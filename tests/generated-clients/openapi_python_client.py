"""The three calls of `dev` with a client that openapi-python-client generated."""

import json
import os

from glacier_gateway_client import AuthenticatedClient
from glacier_gateway_client.api.uploads import abort_multipart_upload, list_multipart_uploads

given = os.environ
media, finance = (
    AuthenticatedClient(given["REST"], given[team]) for team in ["MEDIA", "FINANCE"]
)


def abort(client, upload):
    return abort_multipart_upload.sync_detailed("-", given["VAULT"], given[upload], client=client)


aborted = abort(media, "FIRST")
denied = abort(finance, "SECOND")
problem = denied.parsed
near_miss = problem.near_misses[0]
left = list_multipart_uploads.sync("-", given["VAULT"], client=media)
print(
    json.dumps(
        {
            "aborted": aborted.status_code,
            "denied": {
                "status": denied.status_code,
                "code": problem.code,
                "reason": problem.reason,
                "policy": near_miss.statement.policy,
                "missed": near_miss.missed,
            },
            "left": [upload.upload_id for upload in left.uploads],
        }
    )
)
