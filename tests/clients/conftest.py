"""Fixtures for the tests with clients that this project did not write."""

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

ROOT = Path(__file__).parents[2]
BINARY = os.environ.get("GATEWAY_BIN", str(ROOT / "target/debug/glacier-gateway"))

ACCOUNT = "111122223333"
REGION = "eu-central-1"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


class Process:
    """A subcommand that prints one line of JSON once it listens; the line's
    members become attributes."""

    def __init__(self, *arguments):
        command = [BINARY, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert ready, f"{command} ended with {self.process.wait()}"
        self.__dict__.update(json.loads(ready))

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=10) == 0
        self.process.stdout.close()


class Gateway(Process):
    """`glacier-gateway dev` on free ports: gateway, simulator, issuer."""

    def __init__(self):
        super().__init__("dev", "--json", "--port=0")

    def uploads(self, vault):
        """The IDs of a vault's uploads in progress, as the simulator sees them."""
        with urllib.request.urlopen(self.simulator["control"] + "/state", timeout=10) as reply:
            vaults = json.load(reply)["vaults"]
        uploads = next(v["uploads"] for v in vaults if v["vaultName"] == vault)
        return {u["MultipartUploadId"] for u in uploads if u["status"] == "in-progress"}


class Serve:
    """`glacier-gateway serve` with this configuration file and no other environment than `settings`;
    its log is in `folder`."""

    def __init__(self, config, folder, settings):
        self.log = folder / "log.jsonl"
        self.environment = settings | {"PATH": os.environ["PATH"], "GATEWAY_CONFIG": str(config)}
        with open(self.log, "w") as log:
            command = [BINARY, "serve"]
            self.process = subprocess.Popen(command, env=self.environment, stderr=log)
        deadline = time.monotonic() + 30
        while not (listening := self.events("listening")):
            assert time.monotonic() < deadline, "the gateway does not listen"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)
        self.rest, self.management = (f"http://{listening[0][at]}" for at in ("rest", "management"))

    def events(self, message):
        """The lines of the log with this message; the last line may not be whole yet."""
        lines = self.log.read_text().rpartition("\n")[0].splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if event["message"] == message]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=40) == 0


class Simulator(Process):
    """A `glacier-gateway simulator` process on free ports."""

    def __init__(self, *flags):
        super().__init__("simulator", *flags)

    def client(self, key_id=KEY_ID, secret=SECRET, token=None, region=REGION, **config):
        """A boto3 client. `config` goes to botocore, e.g. `retries`, `read_timeout`."""
        return boto3.client(
            "glacier",
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(**config),
        )

    def order(self, method, path, body=None):
        """Sends an order to the control endpoint and returns its reply."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.control + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            text = reply.read()
            return json.loads(text) if text else None

    def fault(self, effect=None, **fault):
        self.order("POST", "/faults", {"effect": effect, **fault})

    def seed(self, vault, *uploads, region=REGION, account=ACCOUNT):
        """Creates a vault with uploads in progress and returns their IDs."""
        seed = {"accountId": account, "region": region, "vaultName": vault, "uploads": uploads}
        return self.order("POST", "/vaults", seed)["uploadIds"]

    def upload_status(self, upload_id):
        """The upload's status, None once Glacier has forgotten it."""
        for vault in self.order("GET", "/state")["vaults"]:
            for upload in vault["uploads"]:
                if upload["MultipartUploadId"] == upload_id:
                    return upload["status"]
        return None


@pytest.fixture
def start_simulator():
    """Starts simulators with the flags given."""
    running = []

    def start(*flags):
        running.append(Simulator(*flags))
        return running[-1]

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def simulator(start_simulator):
    return start_simulator()


@pytest.fixture
def gateway():
    gateway = Gateway()
    yield gateway
    gateway.stop()


@pytest.fixture
def aws_cli(tmp_path):
    """Makes a function that runs `aws glacier …` at an endpoint with a key, and
    returns its exit code, its output, and what it says."""

    def at(endpoint, key_id, secret, **more):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": REGION,
            **more,
        }

        def run(command, *arguments, **changes):
            done = subprocess.run(
                [
                    ROOT / ".cache/awscli/bin/aws", "--endpoint-url", endpoint,
                    "glacier", command, "--account-id", "-", *arguments,
                ],
                env={**environment, **changes},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )  # fmt: skip
            output = json.loads(done.stdout) if done.stdout else None
            return done.returncode, output, done.stderr

        return run

    return at
