"""The three calls of `dev` with a Python client that openapi-generator generated."""

import json
import os

from openapi_client import ApiClient, Configuration, ProblemDetails, UploadsApi
from openapi_client.exceptions import ForbiddenException

given = os.environ
media, finance = (
    UploadsApi(ApiClient(Configuration(given["REST"], access_token=given[team])))
    for team in ["MEDIA", "FINANCE"]
)

aborted = media.abort_multipart_upload_with_http_info("-", given["VAULT"], given["FIRST"])
try:
    finance.abort_multipart_upload("-", given["VAULT"], given["SECOND"])
except ForbiddenException as error:
    denied, problem = error.status, error.data
assert isinstance(problem, ProblemDetails)
near_miss = problem.near_misses[0]
left = media.list_multipart_uploads("-", given["VAULT"])
print(
    json.dumps(
        {
            "aborted": aborted.status_code,
            "denied": {
                "status": denied,
                "code": problem.code,
                "reason": problem.reason,
                "policy": near_miss.statement.policy,
                "missed": near_miss.missed,
            },
            "left": [upload.upload_id for upload in left.uploads],
        }
    )
)
