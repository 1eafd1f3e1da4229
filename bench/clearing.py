"""Clearing a vault of 10,000 uploads with Glacier 20 ms away."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request

import postgres
from material import ACCOUNT, VAULT, WORK, token, upload_id
from processes import Failed, load, peak_memory, pin, running
from servers import PORT, STORE, TOOLS, UPSTREAM, environment, gateway, installed, upstream

COUNT = 10_000
DELAY_MS = 20
CLI_SAMPLE = 15
ENDPOINT = f"http://127.0.0.1:{UPSTREAM}"


def versions():
    return ", ".join(f"{name} {installed(name)}" for name in ("boto3", "awscli"))


def measure(server, round_number):
    """Yields a way, the requests it had under way at once, and the seconds it took."""
    env = environment(1)
    slow = upstream(None, UPSTREAM, DELAY_MS, COUNT)
    with running("clear-upstream", slow, env, f"{ENDPOINT}/last-request", core=1):
        yield "no server between, plain DELETEs", 256, deletes(UPSTREAM, 256)
        with running("gateway", server.command(1), env, server.ready, core=0):
            load(TOOLS / "load", PORT, "es256-one", 64, 0.5, core=1)
            for connections in (32, 64, 256):
                yield "gateway, plain DELETEs", connections, deletes(PORT, connections)
        for store, beside in (
            (f"sqlite:{STORE}/store.db", contextlib.nullcontext()),
            (postgres.URL, postgres.running(1)),
        ):
            if store == postgres.URL and not postgres.BINARIES:
                continue
            with beside:
                yield f"gateway, a job ({store.partition(':')[0]})", 64, job(store, env)
        for threads in (32, 64):
            yield f"boto3, {threads} threads", threads, boto3_threads(env, threads)
        if round_number == 0:
            yield "aws glacier abort-multipart-upload in a loop", 1, command_line(env)


def deletes(port, connections):
    seen = load(TOOLS / "load", port, "clear", connections, 60, once=True, core=1)
    if seen["statuses"] != {"204": COUNT}:
        raise Failed(f"not everything was aborted: {seen}")
    return seen["elapsed"]


#: What lets the team that the tokens are of make jobs.
JOBS = WORK / "policies/teams/media/jobs.json"


def job(store, env):
    """Has a job abort all uploads by their IDs, with the audit trail and its signed
    checkpoints; the seconds from its confirmation to its end. Its dry run comes before, as
    listing the uploads does elsewhere."""
    JOBS.parent.mkdir(exist_ok=True)
    JOBS.write_text(json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "gateway:*AbortJob",
        "Resource": "arn:aws:glacier-gateway:::job/media/*"}}))
    bearer = token("ES256")

    def ask(path="", body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{PORT}/v1/abort-jobs{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as reply:
            return json.load(reply)

    def until(path, *states):
        while (found := ask(path))["state"] not in states:
            if found["state"] == "failed":
                raise Failed(f"the job has failed: {found['problem']}")
            time.sleep(0.02)
        return found

    try:
        ready = f"http://127.0.0.1:{PORT}/openapi.json"
        with running("gateway", gateway(1, store), env, ready, core=0) as (pid, _):
            made = ask(body={
                "target": {"accounts": [ACCOUNT], "vaults": [VAULT]},
                "select": {"uploadIds": [upload_id(number) for number in range(COUNT)]},
            })
            path = f"/{made['jobId']}"
            found = until(path, "awaiting-confirmation")
            begun = time.perf_counter()
            ask(f"{path}/confirm", {"selectionToken": found["selectionToken"]})
            done = until(path, "completed")
            took = time.perf_counter() - begun
            if done["counts"]["aborted"] != COUNT:
                raise Failed(f"not everything was aborted: {done['counts']}")
            print(f"  a job: {peak_memory(pid) / 1e6:.0f} MB at most", flush=True)
            return took
    finally:
        JOBS.unlink()
        JOBS.parent.rmdir()


def python(arguments, env):
    command = [*pin(0), sys.executable, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Failed(done.stderr[-400:])
    return done.stdout


def boto3_threads(env, threads):
    return json.loads(python([__file__, ENDPOINT, str(threads)], env))


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
    """The script of the comparison: boto3 with threads and as many connections. Prints the
    seconds that the aborts took; listing the uploads comes before."""
    from concurrent.futures import ThreadPoolExecutor

    import boto3
    from botocore.config import Config

    threads = int(sys.argv[2])
    config = Config(max_pool_connections=threads)
    glacier = boto3.client("glacier", endpoint_url=sys.argv[1], config=config)
    pages = glacier.get_paginator("list_multipart_uploads").paginate(vaultName=VAULT)
    uploads = [upload["MultipartUploadId"] for page in pages for upload in page["UploadsList"]]
    assert len(uploads) == COUNT

    def abort(upload):
        glacier.abort_multipart_upload(vaultName=VAULT, uploadId=upload)

    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(abort, uploads))
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
