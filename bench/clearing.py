"""Clearing a vault of 10,000 uploads with Glacier 20 ms away."""

import json
import subprocess
import sys
import time
import urllib.request

from material import AWS, VAULT, WORK
from processes import Failed, load, pin, running
from servers import PORT, TOOLS, UPSTREAM, environment, installed, upstream

COUNT = 10_000
DELAY_MS = 20
CLI_SAMPLE = 15
ENDPOINT = f"http://127.0.0.1:{UPSTREAM}"


def versions():
    return ", ".join(f"{name} {installed(name)}" for name in ("boto3", "awscli"))


def measure(gateway, round_number):
    """Yields a way, the requests it had under way at once, and the seconds it took."""
    env = environment(1)
    slow = upstream(None, UPSTREAM, DELAY_MS, COUNT)
    with running("clear-upstream", slow, env, f"{ENDPOINT}/last-request", core=1):
        yield "no server between, plain DELETEs", 256, deletes(UPSTREAM, 256)
        with running("gateway", gateway.command(1), env, gateway.ready, core=0):
            load(TOOLS / "load", PORT, "es256-one", 64, 0.5, core=1)
            for connections in (32, 64, 256):
                yield "gateway, plain DELETEs", connections, deletes(PORT, connections)
        yield "boto3, 32 threads", 32, boto3_threads(env)
        if round_number == 0:
            yield "aws glacier abort-multipart-upload in a loop", 1, command_line(env)


def deletes(port, connections):
    seen = load(TOOLS / "load", port, "clear", connections, 60, once=True, core=1)
    if seen["statuses"] != {"204": COUNT}:
        raise Failed(f"not everything was aborted: {seen}")
    return seen["elapsed"]


def python(arguments, env):
    command = [*pin(0), sys.executable, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Failed(done.stderr[-400:])
    return done.stdout


def boto3_threads(env):
    return json.loads(python([__file__, ENDPOINT], env))


def command_line(env):
    """Aborts a sample one after the other; the seconds are extrapolated."""
    with urllib.request.urlopen(f"{ENDPOINT}/-/vaults/{VAULT}/multipart-uploads") as reply:
        uploads = [u["MultipartUploadId"] for u in json.load(reply)["UploadsList"]]
    begun = time.perf_counter()
    for upload in uploads[:CLI_SAMPLE]:
        python(["-m", "awscli", "--endpoint-url", ENDPOINT, "glacier",
                   "abort-multipart-upload", "--account-id=-", f"--vault-name={VAULT}",
                   f"--upload-id={upload}"], env)
    return (time.perf_counter() - begun) / CLI_SAMPLE * COUNT


def main():
    """The script of the comparison: boto3 with 32 threads and as many connections. Prints the
    seconds that the aborts took; listing the uploads comes before."""
    from concurrent.futures import ThreadPoolExecutor

    import boto3
    from botocore.config import Config

    config = Config(max_pool_connections=32)
    glacier = boto3.client("glacier", endpoint_url=sys.argv[1], config=config)
    pages = glacier.get_paginator("list_multipart_uploads").paginate(vaultName=VAULT)
    uploads = [upload["MultipartUploadId"] for page in pages for upload in page["UploadsList"]]
    assert len(uploads) == COUNT

    def abort(upload):
        glacier.abort_multipart_upload(vaultName=VAULT, uploadId=upload)

    begun = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(abort, uploads))
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
