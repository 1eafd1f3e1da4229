"""Limits: what they keep from others, and what they cost. Every figure is printed beside its
aim. Glacier is the gateway's own simulator, 20 ms away."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from campaigns import DELAY_MS, SIMULATOR, Campaign, report
from material import ACCOUNT, ACCOUNTS, REGION
from processes import cpu_seconds, load
from servers import PORT, TOOLS

OTHER = ACCOUNTS[1]
ROLE = f"arn:aws:iam::{OTHER}:role/gateway"
ACCOUNT_SETTINGS = f"""
[accounts.other]
id = "{OTHER}"
regions = ["{REGION}"]
role_arn = "{ROLE}"
endpoint_url = "http://127.0.0.1:{SIMULATOR}"
"""


def waits(campaign, account, seconds):
    """The p99 of what a caller waits for a list of uploads, in milliseconds."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        campaign.api(f"/accounts/{account}/vaults/own/multipart-uploads")
        times.append(time.perf_counter() - begun)
    return sorted(times)[int(len(times) * 0.99)] * 1000


def beside(account, connections, fault=None):
    """What a caller waits while nothing else is asked, and while another team aborts over so
    many connections in the first account; how the aborts were answered."""
    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack, roles=[ROLE], settings=ACCOUNT_SETTINGS)
        for number in (ACCOUNT, OTHER):
            campaign.order("/vaults", {
                "accountId": number, "region": REGION, "vaultName": "own"})
        campaign.order("/faults", {"latencyMillis": DELAY_MS})
        waits(campaign, account, 1)
        idle = waits(campaign, account, 10)
        if fault:
            campaign.order("/faults", fault)
        with ThreadPoolExecutor() as pool:
            seen = pool.submit(load, TOOLS / "load", PORT, "es256-one", connections, 12, core=1)
            time.sleep(1)
            busy = waits(campaign, account, 10)
            return idle, busy, seen.result()["statuses"]


def flood():
    """Another team asks for more than Glacier is asked at once."""
    for connections in (64, 500):
        idle, busy, statuses = beside(ACCOUNT, connections)
        yield f"a caller's p99 beside {connections} connections / idle", busy / idle, "<= 2"
        yield "  idle, ms", idle, ""
        yield "  requests/s of the others", sum(statuses.values()) / 12, ""


def hanging():
    """One account's Glacier no longer answers; the caller asks for another's."""
    fault = {"operation": "AbortMultipartUpload", "effect": "hang"}
    idle, busy, statuses = beside(OTHER, 500, fault)
    yield "a caller's p99 while another account hangs / idle", busy / idle, "<= 2"
    yield "  requests/s to what hangs", sum(statuses.values()) / 12, ""


def refusal():
    """A team asks far more often than it may."""
    with contextlib.ExitStack() as stack:
        campaign = Campaign(stack, store="none",
                            settings="\n[limits.callers.teams.media]\nrate = 1\n")
        load(TOOLS / "load", PORT, "es256-one", 64, 1, core=1)
        before = cpu_seconds(campaign.replicas[0])
        seen = load(TOOLS / "load", PORT, "es256-one", 64, 5, core=1)
        cpu = cpu_seconds(campaign.replicas[0]) - before
        refused = seen["statuses"].get("429", 0)
        yield "CPU of a refusal, us", cpu / seen["requests"] * 1e6, "<= 20"
        yield "  share refused", refused / seen["requests"], ""


if __name__ == "__main__":
    report(__doc__, flood, hanging, refusal, to="limits.json")
