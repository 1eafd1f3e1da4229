"""The door is Glacier to an unmodified boto3, for five operations."""

import datetime
import io
import random
import socket
import string

import boto3
import botocore.auth
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from conftest import ACCOUNT, REGION
from door import Door

ONCE = {"retries": {"total_max_attempts": 1}}
OFFERED = ("AbortMultipartUpload", "ListMultipartUploads", "ListParts", "DescribeVault", "ListVaults")


@pytest.fixture(scope="module")
def running():
    door = Door()
    yield door
    door.stop()


@pytest.fixture
def door(running):
    running.behind.order("POST", "/reset")
    return running


@pytest.fixture
def glacier(door):
    return door.client()


def refused(call, *arguments, **parameters):
    """The error's code, status and message."""
    with pytest.raises(ClientError) as raised:
        call(*arguments, **parameters)
    reply = raised.value.response
    assert reply["ResponseMetadata"]["RequestId"]
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    return reply["Error"]["Code"], status, reply["Error"]["Message"]


def forwarded(door):
    return [request["operation"] for request in door.behind.order("GET", "/requests")]


def test_an_upload_is_found_looked_into_and_aborted(door, glacier):
    upload, other = door.behind.seed(
        "media-photos", {"archiveDescription": "a trip", "parts": 2}, {}
    )
    (vault,) = glacier.list_vaults()["VaultList"]
    described = glacier.describe_vault(vaultName="media-photos")
    assert vault.items() <= described.items()
    assert vault["VaultARN"] == f"arn:aws:glacier:{REGION}:{ACCOUNT}:vaults/media-photos"
    listed = glacier.list_multipart_uploads(vaultName="media-photos")["UploadsList"]
    assert {one["MultipartUploadId"] for one in listed} == {upload, other}
    parts = glacier.list_parts(vaultName="media-photos", uploadId=upload)
    assert parts["ArchiveDescription"] == "a trip"
    assert len(parts["Parts"]) == 2

    aborted = glacier.abort_multipart_upload(vaultName="media-photos", uploadId=upload)
    assert aborted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert door.behind.upload_status(upload) == "aborted"
    again = glacier.abort_multipart_upload(
        accountId=ACCOUNT, vaultName="media-photos", uploadId=upload
    )
    assert again["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert door.behind.upload_status(other) == "in-progress"


def test_the_resource_interface_works_too(door):
    (upload,) = door.behind.seed("media-photos", {})
    key_id, secret = door.key()
    glacier = boto3.resource(
        "glacier",
        endpoint_url=door.endpoint,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
    )
    (found,) = glacier.Vault("-", "media-photos").multipart_uploads.all()
    found.abort()
    assert door.behind.upload_status(upload) == "aborted"


@pytest.mark.parametrize(
    "vault", ["media-a.b", "media-_", "media--", "media-..", "media-A.b_c-1", "media-" + "v" * 249]
)
def test_odd_vault_names_are_names(door, glacier, vault):
    (upload,) = door.behind.seed(vault, {})
    assert glacier.describe_vault(vaultName=vault)["VaultName"] == vault
    glacier.abort_multipart_upload(vaultName=vault, uploadId=upload)
    assert door.behind.upload_status(upload) == "aborted"


@pytest.mark.parametrize("upload", ["-leading", "--", "_", "-_-", "x" * 256])
def test_odd_upload_ids_reach_glacier_as_they_are(door, glacier, upload):
    door.behind.seed("media-photos", {})
    abort = glacier.abort_multipart_upload
    assert refused(abort, vaultName="media-photos", uploadId=upload)[0] == "ResourceNotFoundException"
    targets = {request["target"] for request in door.behind.order("GET", "/requests")}
    assert [target.rpartition("/")[2] for target in targets] == [upload]


@pytest.mark.parametrize(
    ("vault", "upload"),
    [("..", "u"), (".", "u"), ("a/../media-x", "u"), ("", "u"), ("media-ü", "u"), ("media-x", "a.b"),
     ("media-x", ".."), ("media-x", "a/b"), ("media-x", "%2e")],
)  # fmt: skip
def test_names_against_glaciers_rules_never_reach_it(door, glacier, vault, upload):
    code, status, _ = refused(glacier.abort_multipart_upload, vaultName=vault, uploadId=upload)
    # boto3 signs and sends paths with dots differently from one another.
    assert code in ("InvalidParameterValueException", "SignatureDoesNotMatch", "AccessDeniedException")
    assert 400 <= status < 500
    assert forwarded(door) == []


def test_paginators_collect_every_page(door, glacier):
    uploads = door.behind.seed("media-photos", *[{"parts": 1}] * 120)
    for number in range(25):
        door.behind.seed(f"media-{number}")
        door.behind.seed(f"hidden-{number}")

    pages = glacier.get_paginator("list_multipart_uploads").paginate(vaultName="media-photos")
    found = [one["MultipartUploadId"] for page in pages for one in page["UploadsList"]]
    assert sorted(found) == sorted(uploads)
    small = glacier.get_paginator("list_multipart_uploads").paginate(
        vaultName="media-photos", PaginationConfig={"PageSize": 7, "MaxItems": 20}
    )
    assert len(small.build_full_result()["UploadsList"]) == 20

    vaults = glacier.get_paginator("list_vaults").paginate().build_full_result()["VaultList"]
    names = {vault["VaultName"] for vault in vaults}
    assert names == {"media-photos", *(f"media-{number}" for number in range(25))}

    parts = glacier.get_paginator("list_parts").paginate(
        vaultName="media-photos", uploadId=uploads[0]
    )
    assert len(parts.build_full_result()["Parts"]) == 1


def test_a_denial_raises_access_denied_with_the_reason(door):
    (upload,) = door.behind.seed("media-photos", {})
    call = {"vaultName": "media-photos", "uploadId": upload}
    for team, reason in [("finance", "no policy of your teams allows this"), ("auditors", "denies this")]:
        denied = refused(door.client(team).abort_multipart_upload, **call)
        assert denied[:2] == ("AccessDeniedException", 403)
        assert reason in denied[2]
    foreign = refused(door.client().list_vaults, accountId="999999999999")
    assert foreign[:2] == ("AccessDeniedException", 403)
    assert forwarded(door) == []


def test_everything_else_is_denied_by_name_and_never_forwarded(door, glacier):
    vault = {"vaultName": "media-photos"}
    upload = {**vault, "uploadId": "u"}
    big = b"x" * (20 * 1024 * 1024)
    calls = [
        (glacier.create_vault, vault),
        (glacier.delete_vault, vault),
        (glacier.upload_archive, {**vault, "body": b"small"}),
        (glacier.upload_archive, {**vault, "body": big}),
        (glacier.upload_archive, {**vault, "body": io.BytesIO(big)}),
        (glacier.delete_archive, {**vault, "archiveId": "a"}),
        (glacier.initiate_multipart_upload, {**vault, "partSize": "1048576"}),
        (glacier.upload_multipart_part, {**upload, "range": "bytes 0-20971519/*", "body": big}),
        (glacier.complete_multipart_upload, {**upload, "archiveSize": "1", "checksum": "0" * 64}),
        (glacier.initiate_job, {**vault, "jobParameters": {"Type": "inventory-retrieval"}}),
        (glacier.list_jobs, vault),
        (glacier.describe_job, {**vault, "jobId": "j"}),
        (glacier.get_job_output, {**vault, "jobId": "j"}),
        (glacier.set_vault_access_policy, {**vault, "policy": {"Policy": "x" * 20000}}),
        (glacier.get_vault_access_policy, vault),
        (glacier.delete_vault_access_policy, vault),
        (glacier.initiate_vault_lock, {**vault, "policy": {"Policy": "{}"}}),
        (glacier.complete_vault_lock, {**vault, "lockId": "l"}),
        (glacier.abort_vault_lock, vault),
        (glacier.get_vault_lock, vault),
        (glacier.set_vault_notifications, {**vault, "vaultNotificationConfig": {}}),
        (glacier.get_vault_notifications, vault),
        (glacier.delete_vault_notifications, vault),
        (glacier.add_tags_to_vault, {**vault, "Tags": {"a": "b"}}),
        (glacier.remove_tags_from_vault, {**vault, "TagKeys": ["a"]}),
        (glacier.list_tags_for_vault, vault),
        (glacier.set_data_retrieval_policy, {"Policy": {"Rules": []}}),
        (glacier.get_data_retrieval_policy, {}),
        (glacier.list_provisioned_capacity, {}),
        (glacier.purchase_provisioned_capacity, {}),
    ]
    assert len({call.__name__ for call, _ in calls}) + len(OFFERED) == 33
    for call, parameters in calls:
        code, status, message = refused(call, **parameters)
        assert (code, status) == ("AccessDeniedException", 403), call.__name__
        assert all(name in message for name in OFFERED)
    assert forwarded(door) == []


def test_glaciers_exceptions_are_raised_as_boto3s_own_classes(door):
    (upload,) = door.behind.seed("media-photos", {})
    glacier = door.client(**ONCE)
    raised = glacier.exceptions

    def abort(vault="media-photos"):
        glacier.abort_multipart_upload(vaultName=vault, uploadId=upload)

    with pytest.raises(raised.ResourceNotFoundException, match="Vault not found"):
        abort("media-missing")
    with pytest.raises(raised.InvalidParameterValueException):
        glacier.list_multipart_uploads(vaultName="media-photos", limit="51")
    for code, status, exception in [
        ("ResourceNotFoundException", 404, raised.ResourceNotFoundException),
        ("InvalidParameterValueException", 400, raised.InvalidParameterValueException),
        ("MissingParameterValueException", 400, raised.MissingParameterValueException),
        ("NoLongerSupportedException", 400, raised.NoLongerSupportedException),
        ("ServiceUnavailableException", 500, raised.ServiceUnavailableException),
        # About the gateway's own role, so not the caller's to see as a denial.
        ("AccessDeniedException", 403, raised.ServiceUnavailableException),
    ]:
        error = {"error": {"status": status, "code": code, "message": "told by Glacier"}}
        door.behind.fault(error, uploadId=upload)
        with pytest.raises(exception):
            abort()
        door.behind.order("DELETE", "/faults")
    door.behind.fault("throttle", uploadId=upload)
    assert refused(abort)[:2] == ("ThrottlingException", 400)


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
def test_boto3_outlives_throttling_by_retrying(door, mode):
    (upload,) = door.behind.seed("media-photos", {})
    # Three attempts of the gateway's for each of boto3's.
    door.behind.fault("throttle", times=4)
    glacier = door.client(retries={"mode": mode, "total_max_attempts": 3})
    reply = glacier.abort_multipart_upload(vaultName="media-photos", uploadId=upload)
    assert reply["ResponseMetadata"]["RetryAttempts"] == 1
    assert door.behind.upload_status(upload) == "aborted"


def test_a_key_that_is_not_ours_and_a_wrong_secret_are_told_apart(door):
    wrong = refused(door.client(secret="wrong").list_vaults)
    assert wrong[:2] == ("SignatureDoesNotMatch", 403)
    assert "secret access key" in wrong[2]
    other = refused(door.client(secret=door.key("finance")[1]).list_vaults)
    assert other[:2] == ("SignatureDoesNotMatch", 403)
    aws = door.simulator
    unknown = refused(
        door.client(key_id=aws["accessKeyId"], secret=aws["secretAccessKey"]).list_vaults
    )
    assert unknown[:2] == ("UnrecognizedClientException", 400)
    token = refused(door.client(token="a-session-token").list_vaults)
    assert token[:2] == ("UnrecognizedClientException", 400)
    unsigned = refused(door.client(signature_version=UNSIGNED).list_vaults)
    assert unsigned[:2] == ("MissingAuthenticationToken", 403)
    region = refused(door.client(region="us-east-1").list_vaults)
    assert region[:2] == ("SignatureDoesNotMatch", 403)
    assert REGION in region[2]
    assert forwarded(door) == []


@pytest.mark.parametrize(
    ("minutes", "message"), [(-6, "Signature expired: "), (6, "Signature not yet current: ")]
)
def test_a_clock_too_far_off_is_told(door, glacier, monkeypatch, minutes, message):
    real = botocore.auth.get_current_datetime
    skewed = datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *a, **k: real(*a, **k) + skewed)
    code, status, told = refused(glacier.list_vaults)
    assert (code, status) == ("RequestExpired", 400)
    assert told.startswith(message)
    skewed = datetime.timedelta(minutes=4 if minutes > 0 else -4)
    assert glacier.list_vaults()["VaultList"] == []


def test_a_presigned_url_is_refused(door, glacier):
    import urllib.error
    import urllib.request

    url = glacier.generate_presigned_url("list_vaults", Params={"accountId": "-"})
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url, timeout=10)
    assert raised.value.code == 403
    assert b"Presigned URLs are not accepted" in raised.value.read()


def test_a_bearer_token_is_sent_by_an_event_hook(door):
    (upload,) = door.behind.seed("media-photos", {})
    glacier = boto3.client(
        "glacier",
        endpoint_url=door.endpoint,
        region_name=REGION,
        config=Config(signature_version=UNSIGNED),
    )

    def add_token(request, **_):
        request.headers["Authorization"] = f"Bearer {token}"

    glacier.meta.events.register("before-send.glacier", add_token)
    token = door.tokens["finance"]
    call = {"vaultName": "media-photos", "uploadId": upload}
    assert refused(glacier.abort_multipart_upload, **call)[0] == "AccessDeniedException"
    token = "not.a.token"
    assert refused(glacier.list_vaults)[0] == "UnrecognizedClientException"
    token = door.tokens["media"]
    glacier.abort_multipart_upload(**call)
    assert door.behind.upload_status(upload) == "aborted"


def test_whatever_botocore_signs_the_door_verifies(door):
    """500 odd requests, signed by botocore and sent to the byte as they are."""
    choice = random.Random(20261123)
    host = door.endpoint.removeprefix("http://").removesuffix("/glacier")
    key_id, secret = door.key()
    signer = botocore.auth.SigV4Auth(Credentials(key_id, secret), "glacier", REGION)
    unreserved = string.ascii_letters + string.digits + "-._~"

    def text(length, others=""):
        escaped = ["%2F", "%25", "%20", "%C3%BC", "%2B"]
        return "".join(choice.choice([*unreserved, *others, *escaped]) for _ in range(length))

    def segment():
        # A leading dot would be a dot segment, which clients rewrite each in their way.
        return "v" + text(choice.randrange(8), "!$'()*,;:@")

    def send(sent):
        address, port = host.split(":")
        with socket.create_connection((address, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            reply = b""
            while chunk := connection.recv(65536):
                reply += chunk
        return reply

    for number in range(500):
        method = choice.choice(["GET", "DELETE", "PUT", "POST"])
        path = "/".join(["glacier", *(segment() for _ in range(choice.randrange(6)))])
        names = [f"n{index}{choice.choice(['', '-', '_', '.'])}" for index in range(choice.randrange(4))]
        query = "&".join(f"{name}={text(choice.randrange(6))}" for name in names)
        url = f"http://{host}/{path}" + (f"?{query}" if query else "")
        body = choice.choice([b"", b"", b"{}", bytes(1000)])
        headers = {"x-amz-glacier-version": "2012-06-01", "Host": host}
        if choice.random() < 0.5:
            headers["x-amz-archive-description"] = "  two  spaces " + text(4)
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        signer.add_auth(request)
        lines = [f"{method} {url.removeprefix(f'http://{host}')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        sent = "\r\n".join(lines).encode() + body
        reply = send(sent)
        # Proven, and so told that there is no such operation.
        assert b"and nothing else of Glacier's API" in reply, (number, lines, reply)
        if number % 10 == 0:
            at = sent.index(b"Signature=") + len("Signature=") + choice.randrange(64)
            forged = bytearray(sent)
            forged[at] = ord("0") if forged[at] != ord("0") else ord("1")
            assert b"SignatureDoesNotMatch" in send(bytes(forged)), (number, lines)
