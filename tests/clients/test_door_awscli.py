"""The door is Glacier to the AWS command line, for five operations."""

import json

import pytest

from conftest import REGION
from door import Door


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
def aws(door, aws_cli):
    """Runs `aws glacier …` at the door."""
    return aws_cli(door.endpoint, *door.key())


def test_the_five_operations(aws, door):
    (upload,) = door.behind.seed("media-photos", {"parts": 2})
    vault = ("--vault-name", "media-photos")
    assert [v["VaultName"] for v in aws("list-vaults")[1]["VaultList"]] == ["media-photos"]
    assert aws("describe-vault", *vault)[1]["VaultName"] == "media-photos"
    (listed,) = aws("list-multipart-uploads", *vault)[1]["UploadsList"]
    assert listed["MultipartUploadId"] == upload
    assert len(aws("list-parts", *vault, f"--upload-id={upload}")[1]["Parts"]) == 2
    assert aws("abort-multipart-upload", *vault, f"--upload-id={upload}") == (0, None, "")
    assert door.behind.upload_status(upload) == "aborted"


def test_an_upload_id_may_begin_with_a_hyphen(aws, door):
    door.behind.seed("media-photos", {})
    code, _, told = aws("abort-multipart-upload", "--vault-name", "media-photos", "--upload-id=-abc")
    assert code != 0
    assert "(ResourceNotFoundException) when calling the AbortMultipartUpload operation" in told
    targets = {request["target"] for request in door.behind.order("GET", "/requests")}
    assert [target.rpartition("/")[2] for target in targets] == ["-abc"]


def test_its_paginator_collects_every_page(aws, door):
    uploads = door.behind.seed("media-photos", *[{}] * 70)
    _, listed, _ = aws("list-multipart-uploads", "--vault-name", "media-photos")
    assert {upload["MultipartUploadId"] for upload in listed["UploadsList"]} == set(uploads)


def test_denials_and_other_operations_are_told(aws, door):
    (upload,) = door.behind.seed("finance-ledgers", {})
    vault = ("--vault-name", "finance-ledgers")
    _, _, told = aws("abort-multipart-upload", *vault, f"--upload-id={upload}")
    assert "(AccessDeniedException)" in told and "no policy of your teams" in told
    _, _, told = aws("delete-vault", *vault)
    assert "(AccessDeniedException)" in told and "AbortMultipartUpload, ListMultipartUploads" in told
    assert door.behind.order("GET", "/requests") == []


def test_wrong_credentials_are_told(aws):
    assert "(SignatureDoesNotMatch)" in aws("list-vaults", AWS_SECRET_ACCESS_KEY="wrong")[2]
    assert "(UnrecognizedClientException)" in aws("list-vaults", AWS_SESSION_TOKEN="token")[2]


def test_a_credential_process_is_a_way_to_hand_keys_out(aws, door, tmp_path):
    key_id, secret = door.key()
    (tmp_path / ".aws").mkdir()
    printed = json.dumps({"Version": 1, "AccessKeyId": key_id, "SecretAccessKey": secret})
    (tmp_path / "key.json").write_text(printed)
    (tmp_path / ".aws/config").write_text(
        f"[profile gateway]\nregion = {REGION}\ncredential_process = cat {tmp_path}/key.json\n"
        f"endpoint_url = {door.endpoint}\n"
    )
    door.behind.seed("media-photos")
    code, listed, told = aws(
        "list-vaults",
        AWS_PROFILE="gateway",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
    )
    assert code == 0, told
    assert len(listed["VaultList"]) == 1


def test_throttling_is_outlived(aws, door):
    (upload,) = door.behind.seed("media-photos", {})
    door.behind.fault("throttle", times=4)
    abort = aws("abort-multipart-upload", "--vault-name", "media-photos", f"--upload-id={upload}")
    assert abort == (0, None, "")
