"""The simulator is Glacier enough for the AWS command line."""

import pytest

from conftest import KEY_ID, SECRET

MIB = 1024 * 1024


@pytest.fixture
def aws(simulator, aws_cli):
    """Runs `aws glacier …` against the simulator."""
    return aws_cli(simulator.endpoint, KEY_ID, SECRET, AWS_MAX_ATTEMPTS="1")


def test_a_vault_and_an_upload_live_and_end(aws, tmp_path):
    vault = ("--vault-name", "photos")
    assert aws("create-vault", *vault)[0] == 0
    code, started, _ = aws("initiate-multipart-upload", *vault, "--part-size", str(MIB))
    assert code == 0
    # An ID may begin with a hyphen, so that it must be written with "=".
    upload = f"--upload-id={started['uploadId']}"

    (tmp_path / "part").write_bytes(b"p" * 1000)
    put = ("--body", "part", "--range", "bytes 0-999/*")
    code, part, _ = aws("upload-multipart-part", *vault, upload, *put)
    assert code == 0
    code, parts, _ = aws("list-parts", *vault, upload)
    assert parts["Parts"] == [{"RangeInBytes": "0-999", "SHA256TreeHash": part["checksum"]}]

    assert aws("abort-multipart-upload", *vault, upload) == (0, None, "")
    assert aws("abort-multipart-upload", *vault, upload) == (0, None, "")
    assert aws("list-multipart-uploads", *vault)[1] == {"UploadsList": []}
    code, _, told = aws("list-parts", *vault, upload)
    assert code != 0
    assert "(ResourceNotFoundException) when calling the ListParts operation" in told


def test_its_paginator_collects_every_page(aws, simulator):
    uploads = simulator.seed("photos", *[{}] * 70)
    _, listed, _ = aws("list-multipart-uploads", "--vault-name", "photos")
    assert {upload["MultipartUploadId"] for upload in listed["UploadsList"]} == set(uploads)


def test_a_wrong_secret_is_refused(aws):
    code, _, told = aws("list-vaults", AWS_SECRET_ACCESS_KEY="wrong")
    assert code != 0
    assert "(InvalidSignatureException)" in told
