"""Campaigns: jobs of many aborts and a crawl of many accounts, with the audit trail, against
the gateway's own simulator of Glacier. Every figure is printed beside its aim."""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

import clearing
import material
import postgres
from material import ACCOUNT, ACCOUNTS, REGION, WORK, token
from processes import CORES, Failed, cpu_seconds, peak_memory, running
from servers import GATEWAY, STORE, environment, gateway, write

#: A build with the simulator, which what is shipped lacks.
GLACIER = Path(os.environ.get("BENCH_SIMULATOR", material.ROOT / "target/release/glacier-gateway"))
SIMULATOR, CONTROL, PORT, MANAGEMENT = 18079, 18078, 18080, 18081
DELAY_MS, CONCURRENCY = 20, 64
#: Glacier's answers for an item of a job: the parts once more, and the abort.
CALLS = 2
SQLITE = f"sqlite:{STORE}/store.db"
POLICY = {"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Action": ["glacier:*", "gateway:*"], "Resource": "*"}}


def ask(url, body=None, method=None, bearer=None):
    """The JSON that a server answers."""
    headers = {"Content-Type": "application/json"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read() or b"null")


class Campaign:
    """Replicas of a gateway before a simulator with uploads."""

    def __init__(self, stack, store=SQLITE, replicas=1, roles=(), settings=""):
        self.env = environment(1)
        self.stack = stack
        self.bearer = token("ES256", team="campaigns")
        stack.enter_context(running(
            "simulator", [GLACIER, "simulator", f"--port={SIMULATOR}", f"--control-port={CONTROL}",
                          *(f"--role={role}" for role in roles)], self.env, f"http://127.0.0.1:{CONTROL}/requests", core=1))
        if store == postgres.URL:
            stack.enter_context(postgres.running(1))
        path = WORK / "policies/teams/campaigns.json"
        path.write_text(json.dumps(POLICY))
        command = gateway(1, store)
        self.config = (WORK / "gateway.toml").read_text().replace(
            "[aws]", f'[aws]\nsts_endpoint_url = "http://127.0.0.1:{SIMULATOR}"') + settings
        self.replicas = [self.start(number, command) for number in range(replicas)]

    def start(self, number, command):
        """A replica on ports of its own."""
        port = PORT + 10 * number
        text = (self.config.replace(f":{PORT}\"", f":{port}\"")
                .replace(f":{MANAGEMENT}\"", f":{port + 1}\""))
        command = [*command[:-1], write(f"gateway-{number}.toml", text)]
        pid, _ = self.stack.enter_context(running(
            f"gateway-{number}", command, self.env, f"http://127.0.0.1:{port + 1}/readyz",
            core=0))
        return pid

    def order(self, path, body=None, method="POST"):
        return ask(f"http://127.0.0.1:{CONTROL}{path}", body, method)

    def seed(self, vaults, uploads, accounts=(ACCOUNT,)):
        for account in accounts:
            for vault in range(vaults):
                self.order("/vaults", {
                    "accountId": account, "region": REGION, "vaultName": f"vault-{vault}",
                    "uploads": [{"parts": 2, "ageSeconds": 864_000}] * uploads})

    def api(self, path, body=None, method=None, port=PORT):
        return ask(f"http://127.0.0.1:{port}/v1{path}", body, method, self.bearer)

    def metrics(self, port=MANAGEMENT):
        """The calls of Glacier by operation and result."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            lines = reply.read().decode().splitlines()
        name = "glacier_gateway_upstream_requests_total{"
        counts = {}
        for line in lines:
            if line.startswith(name):
                labels, _, value = line.removeprefix(name).rpartition("} ")
                counts[labels] = float(value)
        return counts

    def prepare(self):
        """A job for all uploads as they are, which awaits its confirmation."""
        made = self.api("/abort-jobs", {
            "target": {"accounts": [ACCOUNT], "vaults": ["vault-*"]},
            "select": {"all": True, "quietFor": "PT0S"}, "maxUploads": 1_000_000})
        return self.until(made["jobId"], "awaiting-confirmation")

    def until(self, job, *states, port=PORT):
        while (found := self.api(f"/abort-jobs/{job}", port=port))["state"] not in states:
            if found["state"] == "failed":
                raise Failed(f"the job has failed: {found['problem']}")
            time.sleep(0.05)
        return found

    def run(self, job):
        """The seconds from a job's confirmation to its end."""
        begun = time.perf_counter()
        self.api(f"/abort-jobs/{job['jobId']}/confirm", {"selectionToken": job["selectionToken"]})
        done = self.until(job["jobId"], "completed")
        took = time.perf_counter() - begun
        if done["counts"]["aborted"] != job["counts"]["selected"]:
            raise Failed(f"not everything was aborted: {done['counts']}")
        return took


def ideal(items):
    return items * CALLS * DELAY_MS / 1000 / CONCURRENCY


def speed(store, items, fault=None):
    """What a job takes in seconds, its most memory in bytes, its calls of Glacier by their
    results, and the gateway's CPU time an item in microseconds."""
    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack, store)
        for vault in range(0, items, 10_000):
            campaign.order("/vaults", {
                "accountId": ACCOUNT, "region": REGION, "vaultName": f"vault-{vault}",
                "uploads": [{"parts": 2, "ageSeconds": 864_000}] * min(items, 10_000)})
        campaign.order("/faults", {"latencyMillis": DELAY_MS})
        job = campaign.prepare()
        if fault:
            campaign.order("/faults", fault)
        before, cpu = campaign.metrics(), cpu_seconds(campaign.replicas[0])
        took = campaign.run(job)
        after = campaign.metrics()
        cpu = (cpu_seconds(campaign.replicas[0]) - cpu) / items * 1e6
        calls = {name: after[name] - before.get(name, 0) for name in after}
        return took, peak_memory(campaign.replicas[0]), calls, cpu


def jobs():
    """A job on either store, beside boto3; and one of ten times the items."""
    small, memory, _, cpu = speed(SQLITE, 10_000)
    yield "10,000 items, SQLite", small / ideal(10_000), "<= 1.25 x ideal"
    yield "  CPU an item, us", cpu, ""
    if postgres.BINARIES:
        took, _, _, cpu = speed(postgres.URL, 10_000)
        yield "10,000 items, PostgreSQL", took / ideal(10_000), "<= 1.25 x ideal"
        yield "  CPU an item, us", cpu, ""
    env = environment(1)
    with running("clear-upstream", clearing.upstream(None, SIMULATOR, DELAY_MS, 10_000), env,
                 f"{clearing.ENDPOINT}/last-request", core=1):
        took = clearing.boto3_threads(env, CONCURRENCY)
    yield "boto3, 64 threads, aborts alone", took / (ideal(10_000) / CALLS), "its own ideal"
    large, memory, _, _ = speed(SQLITE, 100_000)
    yield "100,000 items / 10 x 10,000", large / (10 * small), "<= 1.1"
    yield "  memory at most, MB", memory / 1e6, "<= 64"


def quota():
    """Glacier takes so many requests a second and no more."""
    for limit in (100, 400):
        items = 15 * limit
        fault = {"effect": {"rateLimit": {"perSecond": limit}}}
        took, _, calls, _ = speed(SQLITE, items, fault)
        throttled = sum(n for name, n in calls.items() if "throttled" in name)
        yield f"{limit} requests/s allowed, share used", items * CALLS / took / limit, ">= 0.9"
        yield "  throttled calls, share", throttled / sum(calls.values()), "<= 0.05"


def beside():
    """What callers wait for while a job runs, to their own uploads."""
    def p99(campaign, seconds, stop=lambda: False):
        times, end = [], time.perf_counter() + seconds
        url = "/accounts/-/vaults/own/multipart-uploads"
        while time.perf_counter() < end and not stop():
            begun = time.perf_counter()
            campaign.api(url)
            times.append(time.perf_counter() - begun)
        return sorted(times)[int(len(times) * 0.99)] * 1000, len(times)

    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack)
        campaign.seed(1, 30_000)
        campaign.order("/vaults", {"accountId": ACCOUNT, "region": REGION, "vaultName": "own"})
        campaign.order("/faults", {"latencyMillis": DELAY_MS})
        job = campaign.prepare()
        idle, _ = p99(campaign, 10)
        thread = threading.Thread(target=campaign.run, args=(job,))
        thread.start()
        busy, _ = p99(campaign, 10, lambda: not thread.is_alive())
        thread.join()
        yield "a caller's p99 during a job / idle", busy / idle, "<= 1.5"
        yield "  idle p99, ms", idle, ""


def replicas():
    """Four gateways work on one account together."""
    if not postgres.BINARIES:
        return
    limit, items = 200, 4000
    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack, postgres.URL, replicas=4)
        campaign.seed(1, items)
        campaign.order("/faults", {"latencyMillis": DELAY_MS})
        job = campaign.prepare()
        campaign.order("/faults", {"effect": {"rateLimit": {"perSecond": limit}}})
        ports = [MANAGEMENT + 10 * number for number in range(4)]
        before = [campaign.metrics(port) for port in ports]
        took = campaign.run(job)
        calls = {}
        for port, old in zip(ports, before):
            for name, value in campaign.metrics(port).items():
                calls[name] = calls.get(name, 0) + value - old.get(name, 0)
        throttled = sum(n for name, n in calls.items() if "throttled" in name)
        yield "four replicas, share of 200 requests/s", items * CALLS / took / limit, ">= 0.9"
        yield "  throttled calls, share", throttled / sum(calls.values()), "<= 0.05"


def recovery():
    """A gateway is killed in the midst of a job; when does the next one abort?"""
    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack)
        campaign.seed(10, 10_000)
        campaign.order("/faults", {"latencyMillis": DELAY_MS})
        job = campaign.prepare()
        campaign.api(f"/abort-jobs/{job['jobId']}/confirm",
                     {"selectionToken": job["selectionToken"]})
        while campaign.api(f"/abort-jobs/{job['jobId']}")["counts"]["aborted"] < 20_000:
            time.sleep(0.1)
        os.killpg(campaign.replicas[0], signal.SIGKILL)
        while Path(f"/proc/{campaign.replicas[0]}/fd").exists() and os.listdir(
                f"/proc/{campaign.replicas[0]}/fd"):
            time.sleep(0.001)
        begun = time.perf_counter()
        command = [GATEWAY, "serve", "--config", WORK / "gateway-0.toml"]
        stack.enter_context(running("gateway-again", command, campaign.env,
                                    f"http://127.0.0.1:{MANAGEMENT}/readyz", core=0))
        ready = time.perf_counter() - begun
        while not any("AbortMultipartUpload" in name for name in campaign.metrics()):
            time.sleep(0.01)
        yield "recovery of 100,000 items, s to the next abort", time.perf_counter() - begun, "<= 2"
        yield "  of it until ready, s", ready, ""


def crawl():
    """100 accounts of 20 vaults with 500 uploads each; and pages of what was found."""
    vaults, uploads, pace = 20, 500, 10
    accounts = [ACCOUNT, *ACCOUNTS[1:]]
    roles = {account: f"arn:aws:iam::{account}:role/gateway" for account in accounts[1:]}
    settings = f"\n[inventory]\npace = {pace}\n" + "".join(f"""
[accounts.number-{account}]
id = "{account}"
regions = ["{REGION}"]
role_arn = "{role}"
endpoint_url = "http://127.0.0.1:{SIMULATOR}"
""" for account, role in roles.items())
    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack, roles=roles.values(), settings=settings)
        campaign.seed(vaults, uploads, accounts)
        begun = time.perf_counter()
        run = campaign.api("/inventory-runs", {})
        while (found := campaign.api(f"/inventory-runs/{run['runId']}"))["state"] not in (
                "completed", "failed"):
            time.sleep(0.2)
        took = time.perf_counter() - begun
        requests = 2 + vaults * (uploads // 50)
        yield "crawl of 1,000,000 uploads / its pace", took / (requests / pace), "<= 1.25"
        for path in ("/inventory?limit=100", "/inventory/uploads?limit=100",
                     "/inventory?groupBy=account&limit=100"):
            times = []
            for _ in range(50):
                begun = time.perf_counter()
                campaign.api(path)
                times.append((time.perf_counter() - begun) * 1000)
            yield f"  a page of {path}, ms (median)", sorted(times)[25], "<= 50"
            yield "    slowest of 50", max(times), ""
        yield "  memory at most, MB", peak_memory(campaign.replicas[0]) / 1e6, ""


def report(description, *parts, to):
    """Prints what the parts give, or those of them that are named on the command line, and
    writes it to a file beside the benchmark's other results."""
    parts = {part.__name__: part for part in parts}
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="all if none is named")
    arguments = parser.parse_args()
    if CORES < 2:
        sys.exit("The benchmark needs two cores: one for the server, one for Glacier.")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    material.write_all()
    os.sched_setaffinity(0, {1})
    figures = []
    for name in arguments.parts or parts:
        try:
            for figure, value, aim in parts[name]():
                print(f"{figure:50} {value:10.3f}   {aim}", flush=True)
                figures.append({"figure": figure, "value": value, "aim": aim})
        except (Failed, OSError) as reason:
            print(f"{name} is cut short: {reason}", flush=True)
    output = material.ROOT / ".cache/bench/results"
    output.mkdir(parents=True, exist_ok=True)
    (output / to).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    report(__doc__, jobs, quota, beside, replicas, recovery, crawl, to="campaigns.json")
