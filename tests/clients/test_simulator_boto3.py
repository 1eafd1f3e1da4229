"""The simulator is Glacier enough for boto3, which checks and raises as ever."""

import io
import json
import os

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.utils import calculate_tree_hash

from conftest import ACCOUNT, KEY_ID, REGION, SECRET

MIB = 1024 * 1024
ONCE = {"retries": {"total_max_attempts": 1}}


@pytest.fixture
def glacier(simulator):
    return simulator.client()


def tree_hash(payload):
    return calculate_tree_hash(io.BytesIO(payload))


def initiate(glacier, part_size=MIB, **more):
    reply = glacier.initiate_multipart_upload(vaultName="photos", partSize=str(part_size), **more)
    return reply["uploadId"]


def put(glacier, upload, payload, first=0, **more):
    return glacier.upload_multipart_part(
        vaultName="photos",
        uploadId=upload,
        range=f"bytes {first}-{first + len(payload) - 1}/*",
        body=payload,
        **more,
    )


def refused(call, *arguments, **parameters):
    """The error's code, status and message."""
    with pytest.raises(ClientError) as raised:
        call(*arguments, **parameters)
    reply = raised.value.response
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    return reply["Error"]["Code"], status, reply["Error"]["Message"]


def test_an_archive_uploaded_in_parts_is_completed_and_counted(simulator, glacier):
    archive = os.urandom(5 * MIB + 17)
    assert glacier.create_vault(vaultName="photos")["location"] == f"/{ACCOUNT}/vaults/photos"
    upload = initiate(glacier, 2 * MIB, archiveDescription="a  trip, 2026")
    assert len(upload) == 92

    for first in (4 * MIB, 0, 2 * MIB):
        part = archive[first : first + 2 * MIB]
        assert put(glacier, upload, part, first)["checksum"] == tree_hash(part)
    parts = glacier.list_parts(vaultName="photos", uploadId=upload)
    assert [part["RangeInBytes"] for part in parts["Parts"]] == [
        "0-2097151",
        "2097152-4194303",
        f"4194304-{len(archive) - 1}",
    ]
    assert parts["Parts"][2]["SHA256TreeHash"] == tree_hash(archive[4 * MIB :])
    (listed,) = glacier.list_multipart_uploads(vaultName="photos")["UploadsList"]
    assert listed["MultipartUploadId"] == parts["MultipartUploadId"] == upload
    assert listed["ArchiveDescription"] == "a  trip, 2026"
    assert listed["PartSizeInBytes"] == 2 * MIB
    assert listed["VaultARN"] == f"arn:aws:glacier:{REGION}:{ACCOUNT}:vaults/photos"

    def complete():
        return glacier.complete_multipart_upload(
            vaultName="photos",
            uploadId=upload,
            archiveSize=str(len(archive)),
            checksum=tree_hash(archive),
        )

    done = complete()
    assert done["checksum"] == tree_hash(archive)
    assert complete()["archiveId"] == done["archiveId"], "repeating it changes nothing"
    assert glacier.list_multipart_uploads(vaultName="photos")["UploadsList"] == []
    code, status, _ = refused(glacier.list_parts, vaultName="photos", uploadId=upload)
    assert (code, status) == ("ResourceNotFoundException", 404)

    # The archive counts from the next inventory on, and keeps the vault alive.
    assert glacier.describe_vault(vaultName="photos")["NumberOfArchives"] == 0
    code, status, message = refused(glacier.delete_vault, vaultName="photos")
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert message.startswith("Vault not empty or recently written to: arn:")
    simulator.order("PATCH", "/clock", {"advanceSeconds": 86_400})
    counted = glacier.describe_vault(vaultName="photos")
    assert (counted["NumberOfArchives"], counted["SizeInBytes"]) == (1, len(archive))
    assert "LastInventoryDate" in counted
    assert refused(glacier.delete_vault, vaultName="photos")[1] == 400


def test_vaults_are_created_described_and_deleted(glacier):
    glacier.create_vault(vaultName="photos")
    created = glacier.describe_vault(vaultName="photos")
    glacier.create_vault(vaultName="photos")
    again = glacier.describe_vault(vaultName="photos")
    assert again["CreationDate"] == created["CreationDate"]
    glacier.delete_vault(vaultName="photos")
    code, status, message = refused(glacier.delete_vault, vaultName="photos")
    assert (code, status) == ("ResourceNotFoundException", 404)
    arn = f"arn:aws:glacier:{REGION}:{ACCOUNT}:vaults/photos"
    assert message == f"Vault not found for ARN: {arn}"


def test_the_paginators_walk_every_page(simulator, glacier):
    uploads = simulator.seed("photos", *[{"parts": 0}] * 120)
    pages = list(glacier.get_paginator("list_multipart_uploads").paginate(vaultName="photos"))
    assert [len(page["UploadsList"]) for page in pages] == [50, 50, 20]
    listed = [u["MultipartUploadId"] for page in pages for u in page["UploadsList"]]
    assert sorted(listed) == sorted(uploads)

    (upload,) = simulator.seed("photos", {"parts": 60})
    paginator = glacier.get_paginator("list_parts")
    pages = paginator.paginate(
        vaultName="photos", uploadId=upload, PaginationConfig={"PageSize": 7}
    )
    ranges = [part["RangeInBytes"] for page in pages for part in page["Parts"]]
    assert ranges == [f"{n * MIB}-{(n + 1) * MIB - 1}" for n in range(60)]

    names = sorted(f"vault.{n}" for n in range(23))
    for name in names:
        simulator.seed(name)
    pages = list(glacier.get_paginator("list_vaults").paginate())
    assert [len(page["VaultList"]) for page in pages] == [10, 10, 4]
    assert [v["VaultName"] for page in pages for v in page["VaultList"]] == ["photos", *names]


@pytest.mark.parametrize(
    ("listing", "largest", "names"),
    [
        ("list_vaults", 10, []),
        ("list_multipart_uploads", 50, ["vaultName"]),
        ("list_parts", 50, ["vaultName", "uploadId"]),
    ],
)
def test_limits_and_markers_out_of_range_are_invalid(simulator, glacier, listing, largest, names):
    (upload,) = simulator.seed("photos", {})
    values = {"vaultName": "photos", "uploadId": upload}
    parameters = {name: values[name] for name in names}
    call = getattr(glacier, listing)
    call(limit=str(largest), **parameters)
    for wrong in ("0", str(largest + 1), "-1", "ten", ""):
        code, status, _ = refused(call, limit=wrong, **parameters)
        assert (code, status) == ("InvalidParameterValueException", 400), wrong
    code, status, _ = refused(call, marker="not/a marker", **parameters)
    assert (code, status) == ("InvalidParameterValueException", 400)


def test_an_abort_repeated_succeeds_for_a_while_and_then_finds_nothing(simulator, glacier):
    (upload,) = simulator.seed("photos", {"parts": 2})

    def abort():
        return glacier.abort_multipart_upload(vaultName="photos", uploadId=upload)

    assert abort()["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert glacier.list_multipart_uploads(vaultName="photos")["UploadsList"] == []
    with pytest.raises(glacier.exceptions.ResourceNotFoundException):
        glacier.list_parts(vaultName="photos", uploadId=upload)
    with pytest.raises(glacier.exceptions.ResourceNotFoundException):
        put(glacier, upload, b"late")
    abort()
    assert simulator.upload_status(upload) == "aborted"
    simulator.order("PATCH", "/clock", {"advanceSeconds": 301})
    with pytest.raises(glacier.exceptions.ResourceNotFoundException) as raised:
        abort()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert simulator.upload_status(upload) is None


@pytest.mark.parametrize(
    ("reply", "code"),
    [("not-found", "ResourceNotFoundException"), ("invalid", "InvalidParameterValueException")],
)
def test_a_completed_upload_cannot_be_aborted(start_simulator, reply, code):
    simulator = start_simulator("--abort-completed", reply)
    glacier = simulator.client()
    glacier.create_vault(vaultName="photos")
    upload = initiate(glacier)
    put(glacier, upload, b"small")
    glacier.complete_multipart_upload(
        vaultName="photos", uploadId=upload, archiveSize="5", checksum=tree_hash(b"small")
    )
    assert refused(glacier.abort_multipart_upload, vaultName="photos", uploadId=upload)[0] == code
    assert simulator.upload_status(upload) == "completed"


def test_uploads_idle_for_long_vanish_if_asked_to(start_simulator):
    simulator = start_simulator("--idle-expiry", "24h")
    glacier = simulator.client()
    idle, active = simulator.seed("photos", {"ageSeconds": 80_000}, {"ageSeconds": 80_000})
    put(glacier, active, b"still here")
    simulator.order("PATCH", "/clock", {"advanceSeconds": 6_401})
    (listed,) = glacier.list_multipart_uploads(vaultName="photos")["UploadsList"]
    assert listed["MultipartUploadId"] == active
    with pytest.raises(glacier.exceptions.ResourceNotFoundException):
        glacier.abort_multipart_upload(vaultName="photos", uploadId=idle)


def test_boto3_raises_glaciers_own_exceptions(simulator, glacier):
    exceptions = glacier.exceptions
    glacier.create_vault(vaultName="photos")
    with pytest.raises(exceptions.ResourceNotFoundException):
        glacier.abort_multipart_upload(vaultName="photos", uploadId="-unknown")
    with pytest.raises(exceptions.ResourceNotFoundException):
        glacier.list_multipart_uploads(vaultName="nowhere")
    for wrong in ("0", "1000000", str(3 * MIB), str(8192 * MIB), "big"):
        with pytest.raises(exceptions.InvalidParameterValueException):
            glacier.initiate_multipart_upload(vaultName="photos", partSize=wrong)
    with pytest.raises(exceptions.InvalidParameterValueException):
        initiate(glacier, archiveDescription="x" * 1025)
    with pytest.raises(exceptions.MissingParameterValueException):
        glacier.initiate_multipart_upload(vaultName="photos")
    simulator.fault("unavailable", times=3)
    with pytest.raises(exceptions.ServiceUnavailableException) as raised:
        glacier.list_vaults()
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 2
    simulator.fault({"error": {"status": 400, "code": "NoLongerSupportedException", "message": "No."}})
    with pytest.raises(exceptions.NoLongerSupportedException):
        glacier.list_vaults()


def test_a_part_with_a_wrong_hash_is_refused_and_not_kept(glacier):
    glacier.create_vault(vaultName="photos")
    upload = initiate(glacier)
    code, status, message = refused(put, glacier, upload, b"abc", checksum="0" * 64)
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert message == f"Invalid x-amz-sha256-tree-hash: {'0' * 64}"

    def tamper(request, **_):
        del request.headers["x-amz-content-sha256"]
        request.headers["x-amz-content-sha256"] = tree_hash(b"something else")

    glacier.meta.events.register("before-sign.glacier.UploadMultipartPart", tamper)
    code, status, message = refused(put, glacier, upload, b"abc")
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert message.startswith("Invalid x-amz-content-sha256")
    assert glacier.list_parts(vaultName="photos", uploadId=upload)["Parts"] == []


@pytest.mark.parametrize("header", ["x-amz-content-sha256", "x-amz-sha256-tree-hash", "Content-Range"])
def test_a_part_without_its_headers_misses_a_parameter(glacier, header):
    glacier.create_vault(vaultName="photos")
    upload = initiate(glacier)

    def drop(request, **_):
        del request.headers[header]

    glacier.meta.events.register("before-sign.glacier.UploadMultipartPart", drop)
    with pytest.raises(glacier.exceptions.MissingParameterValueException):
        put(glacier, upload, b"abc")


def test_the_api_version_is_required(glacier):
    def change(request, **_):
        del request.headers["x-amz-glacier-version"]
        if version:
            request.headers["x-amz-glacier-version"] = version

    glacier.meta.events.register("before-sign.glacier", change)
    version = None
    assert refused(glacier.list_vaults) == (
        "MissingParameterValueException",
        400,
        "Required parameter missing: API version",
    )
    version = "2026-01-01"
    assert refused(glacier.list_vaults)[0] == "InvalidParameterValueException"


def test_ranges_align_with_the_part_size(glacier):
    glacier.create_vault(vaultName="photos")
    upload = initiate(glacier, 2 * MIB)
    whole = bytes(2 * MIB)
    put(glacier, upload, whole)
    for payload, first in ((b"x", 1), (whole, MIB), (bytes(2 * MIB + 1), 0), (b"x", 10_000 * 2 * MIB)):
        code, _, message = refused(put, glacier, upload, payload, first)
        assert code == "InvalidParameterValueException"
        assert message.startswith("Invalid Content-Range: bytes ")
    put(glacier, upload, b"x", 9_999 * 2 * MIB)
    for wrong in ("bytes 0-5", "0-3/*", "bytes 3-0/*", "bytes a-b/*"):
        call = {"vaultName": "photos", "uploadId": upload, "range": wrong, "body": b"four"}
        assert refused(glacier.upload_multipart_part, **call)[0] == "InvalidParameterValueException"
    call["range"] = "bytes 0-4/*"
    message = refused(glacier.upload_multipart_part, **call)[2]
    assert message == "Content-Range: bytes 0-4/* is incompatible with Content-Length: 4"


def test_a_part_sent_again_replaces_the_first_and_gaps_are_found_on_completion(glacier):
    glacier.create_vault(vaultName="photos")
    upload = initiate(glacier)

    def complete(archive, **change):
        parameters = {"archiveSize": str(len(archive)), "checksum": tree_hash(archive), **change}
        return glacier.complete_multipart_upload(
            vaultName="photos", uploadId=upload, **parameters
        )

    assert "no parts" in refused(complete, b"")[2]
    tail = b"tail"
    put(glacier, upload, tail, MIB)
    assert "byte 0" in refused(complete, bytes(MIB) + tail)[2]
    put(glacier, upload, b"short", 0)
    assert "byte 5" in refused(complete, b"short" + tail)[2]
    put(glacier, upload, bytes(MIB), 0)
    archive = bytes(MIB) + tail
    assert refused(complete, archive, archiveSize="1")[2] == "Invalid x-amz-archive-size: 1"
    assert "tree-hash" in refused(complete, archive, checksum="0" * 64)[2]
    for missing in ("archiveSize", "checksum"):
        parameters = {"archiveSize": str(len(archive)), "checksum": tree_hash(archive)}
        del parameters[missing]
        call = {"vaultName": "photos", "uploadId": upload, **parameters}
        code = refused(glacier.complete_multipart_upload, **call)[0]
        assert code == "MissingParameterValueException"
    assert complete(archive)["archiveId"]


def test_an_account_sees_its_own_vaults_in_one_region(start_simulator):
    other_account = "444455556666"
    simulator = start_simulator(
        "--credentials", f"{ACCOUNT}:{KEY_ID}:{SECRET}",
        "--credentials", f"{other_account}:AKIAOTHER:other-secret",
    )  # fmt: skip
    ours = simulator.client()
    theirs = simulator.client("AKIAOTHER", "other-secret")
    abroad = simulator.client(region="us-gov-west-1")
    ours.create_vault(vaultName="photos")
    theirs.create_vault(vaultName="theirs")
    abroad.create_vault(vaultName="abroad")

    def names(client, **parameters):
        return [vault["VaultName"] for vault in client.list_vaults(**parameters)["VaultList"]]

    assert names(ours) == names(ours, accountId=ACCOUNT) == ["photos"]
    assert names(theirs) == ["theirs"]
    (vault,) = abroad.list_vaults()["VaultList"]
    assert vault["VaultARN"] == f"arn:aws-us-gov:glacier:us-gov-west-1:{ACCOUNT}:vaults/abroad"
    denied = refused(ours.describe_vault, accountId=other_account, vaultName="theirs")
    message = f"Access denied for account ID: {other_account}"
    assert denied == ("AccessDeniedException", 403, message)


def test_names_are_signed_as_sent_and_then_judged(glacier):
    name = "a b/c?d#e%2F+~ü"
    code, status, message = refused(glacier.describe_vault, vaultName=name)
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert message == f"Invalid vault name: arn:aws:glacier:{REGION}:{ACCOUNT}:vaults/{name}"
    glacier.create_vault(vaultName="...")
    assert glacier.describe_vault(vaultName="...")["VaultName"] == "..."


def test_a_wrong_secret_is_refused_and_an_unknown_key_and_no_signature_at_all(simulator):
    code, status, message = refused(simulator.client(secret="wrong").list_vaults)
    assert (code, status) == ("InvalidSignatureException", 403)
    assert "does not match the signature you provided" in message
    unknown = refused(simulator.client(key_id="AKIAUNKNOWN").list_vaults)
    assert unknown[:2] == ("UnrecognizedClientException", 400)
    unsigned = refused(simulator.client(signature_version=UNSIGNED).list_vaults)
    assert unsigned[:2] == ("MissingAuthenticationTokenException", 400)


def test_a_signature_covers_the_whole_request(simulator):
    changes = {
        "query": lambda request: setattr(request, "url", request.url + "?limit=1"),
        "path": lambda request: setattr(request, "url", request.url.replace("/-/", f"/{ACCOUNT}/")),
        "header": lambda request: request.headers.update({"x-amz-part-size": "1"}),
        "value": lambda request: request.headers.update({"x-amz-glacier-version": "2012-06-02"}),
        "method": lambda request: setattr(request, "method", "DELETE"),
    }
    for what, change in changes.items():
        glacier = simulator.client()
        glacier.meta.events.register("before-send.glacier", lambda request, **_: change(request))
        assert refused(glacier.list_vaults)[0] == "InvalidSignatureException", what


@pytest.mark.parametrize(
    ("skew", "message"), [(600, "Signature expired: "), (-600, "Signature not yet current: ")]
)
def test_a_clock_too_far_off_is_refused(start_simulator, skew, message):
    simulator = start_simulator(f"--clock-skew={skew}")
    code, status, told = refused(simulator.client().list_vaults)
    assert (code, status) == ("InvalidSignatureException", 403)
    assert told.startswith(message)
    simulator.order("PATCH", "/clock", {"skewSeconds": skew // 3})
    assert simulator.client().list_vaults()["VaultList"] == []


def test_temporary_credentials_need_their_session_token(start_simulator):
    simulator = start_simulator("--credentials", f"{ACCOUNT}:ASIATEMPORARY:s3cret:the:token")
    assert simulator.client("ASIATEMPORARY", "s3cret", "the:token").list_vaults()["VaultList"] == []
    for token in ("another", None):
        client = simulator.client("ASIATEMPORARY", "s3cret", token)
        assert refused(client.list_vaults)[0] == "UnrecognizedClientException"


def test_throttled_requests_succeed_when_repeated(simulator, glacier):
    (upload,) = simulator.seed("photos", {})
    simulator.fault("throttle", operation="AbortMultipartUpload", times=2)
    reply = glacier.abort_multipart_upload(vaultName="photos", uploadId=upload)
    assert reply["ResponseMetadata"]["RetryAttempts"] == 2
    sent = [request["operation"] for request in simulator.order("GET", "/requests")]
    assert sent == ["AbortMultipartUpload"] * 3

    simulator.fault({"rateLimit": {"perSecond": 0.001}})
    once = simulator.client(**ONCE)
    once.list_vaults()
    assert refused(once.list_vaults) == ("ThrottlingException", 400, "Rate exceeded")


def test_a_fault_can_spoil_the_reply_of_an_operation_carried_out(simulator):
    (upload,) = simulator.seed("photos", {})
    assert simulator.upload_status(upload) == "in-progress"
    simulator.fault("reset", operation="AbortMultipartUpload", carriedOut=True)
    with pytest.raises(ConnectionClosedError):
        simulator.client(**ONCE).abort_multipart_upload(vaultName="photos", uploadId=upload)
    assert simulator.upload_status(upload) == "aborted"

    (upload,) = simulator.seed("slow", {})
    simulator.order("DELETE", "/faults")
    simulator.fault(latencyMillis=60_000, carriedOut=True)
    client = simulator.client(read_timeout=0.3, **ONCE)
    with pytest.raises(ReadTimeoutError):
        client.abort_multipart_upload(vaultName="slow", uploadId=upload)
    assert simulator.upload_status(upload) == "aborted"


def test_a_fault_otherwise_leaves_things_as_they_were(simulator):
    (upload,) = simulator.seed("photos", {})
    client = simulator.client(read_timeout=0.3, **ONCE)
    for effect, raised in [("hang", ReadTimeoutError), ("reset", ConnectionClosedError)]:
        simulator.fault(effect, uploadId=upload, times=1)
        with pytest.raises(raised):
            client.abort_multipart_upload(vaultName="photos", uploadId=upload)
    simulator.fault({"notJson": {"status": 502}}, vaultName="photos", times=1)
    with pytest.raises(ClientError) as spoiled:
        client.abort_multipart_upload(vaultName="photos", uploadId=upload)
    assert spoiled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert simulator.upload_status(upload) == "in-progress"
    assert simulator.order("GET", "/faults") == []


def test_faults_can_be_given_as_flags_and_a_reset_brings_them_back(start_simulator):
    simulator = start_simulator("--fault", '{"effect": "throttle", "latencyMillis": 1}')
    client = simulator.client(**ONCE)
    assert refused(client.list_vaults)[0] == "ThrottlingException"
    simulator.order("DELETE", "/faults")
    client.create_vault(vaultName="photos")
    simulator.order("POST", "/reset")
    assert refused(client.list_vaults)[0] == "ThrottlingException"
    assert simulator.order("GET", "/state")["vaults"] == []
    assert len(simulator.order("GET", "/requests")) == 1


def test_vaults_to_begin_with_come_from_a_file(start_simulator, tmp_path):
    upload = {"archiveDescription": "a trip", "partSizeInBytes": 4 * MIB, "parts": 2, "ageSeconds": 60}
    vault = {"accountId": ACCOUNT, "region": REGION, "vaultName": "photos", "uploads": [upload]}
    (tmp_path / "seed.json").write_text(json.dumps([vault]))
    glacier = start_simulator("--seed", str(tmp_path / "seed.json")).client()
    (listed,) = glacier.list_multipart_uploads(vaultName="photos")["UploadsList"]
    assert (listed["ArchiveDescription"], listed["PartSizeInBytes"]) == ("a trip", 4 * MIB)
    zeros = bytes(8 * MIB)
    glacier.complete_multipart_upload(
        vaultName="photos",
        uploadId=listed["MultipartUploadId"],
        archiveSize=str(len(zeros)),
        checksum=tree_hash(zeros),
    )


def test_requests_are_kept_without_their_signatures(start_simulator):
    simulator = start_simulator("--credentials", f"{ACCOUNT}:{KEY_ID}:{SECRET}:the-token")
    simulator.client(token="the-token").list_vaults(limit="5")
    (request,) = simulator.order("GET", "/requests")
    assert (request["method"], request["target"]) == ("GET", "/-/vaults?limit=5")
    assert request["operation"] == "ListVaults"
    credential = f"Credential={KEY_ID}/"
    assert credential in request["headers"]["authorization"]
    assert "Signature=" not in request["headers"]["authorization"]
    assert "the-token" not in str(request)

    def bearer(request, **_):
        request.headers["Authorization"] = "Bearer of-a-secret"

    client = simulator.client(signature_version=UNSIGNED)
    client.meta.events.register("before-send.glacier", bearer)
    assert refused(client.list_vaults)[0] == "IncompleteSignatureException"
    (_, request) = simulator.order("GET", "/requests")
    assert request["headers"]["authorization"] == "Bearer"


def test_replies_carry_a_request_id_and_the_simulators_date(start_simulator):
    simulator = start_simulator("--clock-skew=120")
    headers = simulator.client().list_vaults()["ResponseMetadata"]["HTTPHeaders"]
    assert len(headers["x-amzn-requestid"]) == 47
    assert headers["content-type"] == "application/json"
    assert "x-amzn-errortype" not in headers
    assert headers["date"].endswith(" GMT")
