#!/usr/bin/env python3
"""Measures the gateway beside what a team would use instead. bench/README.md explains."""

import argparse
import contextlib
import datetime
import fnmatch
import json
import os
import platform
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

try:
    import jwt  # noqa: F401
except ImportError:
    sys.exit("Run bench/setup.sh first, and this with .cache/bench/bin/python.")

import clearing
import disk
import material
import report
from check import check
from processes import CORES, Failed, cpu_seconds, load, others_share, peak_memory, running
from servers import PORT, TOOLS, UPSTREAM, environment, servers, upstream

#: The gateway with an audit trail.
TRAILS = ("gateway-sqlite", "gateway-postgres")
RESULTS = material.ROOT / "bench/results"


@dataclass
class Scenario:
    """A file of requests, sent over so many connections, and who is measured with it."""

    name: str
    requests: str
    connections: int
    #: Who is measured by default, and who with --full.
    usual: str = ""
    full: str = ""
    status: int = 204
    once: bool = False
    delay_ms: int = 0
    pinned: bool = True


def scenarios():
    """All, in the order in which a server meets them. The first ones are those at which its
    memory is read; tokens of the cold ones are sent once only."""
    everyone = f"upstream gateway {' '.join(TRAILS)} envoy nginx haproxy fastapi fastify"
    judges = "gateway envoy envoy-nocache haproxy fastapi fastify"
    all_judges = f"{judges} envoy-log envoy-nocache-log"
    all_servers = f"{all_judges} upstream nginx"
    every_one = f"{everyone} envoy-log envoy-nocache envoy-nocache-log"
    usual = {
        "es256/one/1": everyone, "es256/one/64": every_one, "es256/one/256": everyone,
        "es256/many/64": "gateway envoy",
        "rs256/one/64": f"{judges} envoy-log", "rs256/many/64": "gateway envoy",
    }
    for algorithm in ("es256", "rs256"):
        for tokens in ("one", "many"):
            for connections in (1, 64, 256):
                name = f"{algorithm}/{tokens}/{connections}"
                yield Scenario(name, f"{algorithm}-{tokens}", connections, usual.get(name, ""),
                               all_servers)
    yield Scenario("es256/accounts/64", "es256-accounts", 64, "gateway-accounts")
    yield Scenario("list/1", "list", 1, "upstream gateway fastapi fastify", status=200)
    yield Scenario("list/64", "list", 64, "upstream gateway fastapi fastify", status=200)
    yield Scenario("other-vault/64", "other-vault", 64, "gateway envoy haproxy fastapi fastify",
                   all_judges, status=403)
    yield Scenario("bad-one/64", "bad-one", 64, "gateway envoy haproxy", all_judges, status=401)
    yield Scenario("bad-fresh/64", "bad-fresh", 64, judges, all_judges, status=401, once=True)
    for algorithm in ("es256", "rs256"):
        yield Scenario(f"{algorithm}/cold/64", f"{algorithm}-cold", 64, judges, all_judges,
                       once=True)
    yield Scenario("slow/256", "es256-one", 256, "upstream gateway envoy nginx", all_servers,
                   delay_ms=clearing.DELAY_MS)
    yield Scenario("unpinned/es256/one/64", "es256-one", 64,
                   f"{everyone} envoy-log", all_servers, pinned=False)


def measure(scenario, server, pid, seconds):
    """One figure: a warm-up, then the load, between two looks at the server's CPU time."""
    core = 1 if scenario.pinned else None
    port, tool = PORT, TOOLS / "load"
    # Every one of many tokens is shown once before; tokens that must be new are not.
    warm = "es256-one" if scenario.once else scenario.requests
    every = scenario.requests.endswith(("-many", "-accounts"))
    load(tool, port, warm, scenario.connections, 5 if every else 0.3, once=every, core=core)
    before = cpu_seconds(pid)
    seen = load(tool, port, scenario.requests, scenario.connections, seconds, scenario.once, core)
    cpu = cpu_seconds(pid) - before
    cores = 1 if scenario.pinned else CORES
    requests = max(seen["requests"], 1)
    unexpected = {s: n for s, n in seen["statuses"].items() if s != str(scenario.status)}
    return {
        "scenario": scenario.name,
        "server": server.name,
        "rps": seen["requests"] / seen["elapsed"],
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
        "cpu_us": cpu / requests * 1e6,
        "busy": cpu / seen["elapsed"] / cores,
        "peak_bytes": peak_memory(pid),
        "requests": seen["requests"],
        "invalid": {**unexpected, **({"broken": seen["broken"]} if seen["broken"] else {})},
    }


def visit(server, group, seconds, first):
    """Starts a server with an upstream and measures the scenarios of a group with it."""
    pinned, delay_ms = group[0].pinned, group[0].delay_ms
    cores = 1 if pinned else CORES
    env = environment(cores)
    samples = []
    with contextlib.ExitStack() as stack:
        if server.name == "upstream":
            command = upstream(cores, PORT, delay_ms)
        else:
            command = server.command(cores)
            stack.enter_context(server.beside(1 if pinned else None))
            stack.enter_context(running(
                "upstream", upstream(cores, UPSTREAM, delay_ms), env,
                f"http://127.0.0.1:{UPSTREAM}/last-request", core=1 if pinned else None))
        pid, ready = stack.enter_context(
            running(server.name, command, env, server.ready, core=0 if pinned else None))
        if first:
            check(server)
        # Compilers that learn as they go get their chance.
        load(TOOLS / "load", PORT, "es256-one", 64, 2, core=1 if pinned else None)
        for scenario in group:
            sample = measure(scenario, server, pid, seconds)
            # What was logged is not kept: it would fill the disk.
            for log in (f"{server.name}.log", "envoy.access.log"):
                with contextlib.suppress(FileNotFoundError):
                    os.truncate(material.WORK / log, 0)
            samples.append(sample | {"ready_s": ready})
            wrong = f"  INVALID: {sample['invalid']}" if sample["invalid"] else ""
            print(f"  {server.name:18} {scenario.name:22} {sample['rps']:9.0f}/s "
                  f"{sample['cpu_us']:8.1f} µs CPU, p50 {sample['p50_us']:8.0f} µs, "
                  f"p99 {sample['p99_us']:8.0f} µs, busy {sample['busy']:4.0%}{wrong}", flush=True)
    return samples


def plan(everyone, arguments):
    """Who is measured with what, in groups for which a server is started once."""
    wanted = arguments.scenarios.split(",")
    for server in everyone:
        groups = {}
        for scenario in scenarios():
            names = scenario.usual
            # Whoever asks for a scenario by its full name wants it from all.
            if arguments.full or scenario.name in wanted:
                names += " " + scenario.full
            if server.name.removesuffix("-before") in names.split() and any(
                    fnmatch.fnmatch(scenario.name, w) for w in wanted):
                groups.setdefault((scenario.pinned, scenario.delay_ms), []).append(scenario)
        for group in groups.values():
            yield server, group


def machine():
    cpu = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.machine())
    revision = subprocess.run(["git", "-C", material.ROOT, "describe", "--always", "--dirty"],
                              capture_output=True, text=True).stdout.strip()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "cpu": cpu, "cores": CORES, "memory_gib": round(pages / 2**30),
        "kernel": platform.release(), "python": platform.python_version(),
        "revision": revision,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of one figure")
    parser.add_argument("--only", default="", metavar="SERVERS", help="gateway,envoy,…")
    parser.add_argument("--scenarios", default="*", metavar="PATTERNS", help="'es256/*,slow/256'")
    parser.add_argument("--full", action="store_true", help="also the less telling combinations")
    parser.add_argument("--output", type=Path, help="folder of the results; by default "
                        "bench/results, and .cache/bench/results for a part of the benchmark")
    parser.add_argument("--no-clearing", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the plan and end")
    parser.add_argument("--report", action="store_true",
                        help="only render the folder's results.json anew")
    arguments = parser.parse_args()
    part = arguments.only or arguments.scenarios != "*"
    output = arguments.output or (material.ROOT / ".cache/bench/results" if part else RESULTS)
    if arguments.report:
        report.write(output)
        return
    if CORES < 2:
        sys.exit("The benchmark needs two cores: one for the server, one for its callers.")

    everyone = [s for s in servers() if not arguments.only or s.name in arguments.only.split(",")]
    skipped = {server.name: server.missing for server in everyone if server.missing}
    present = [server for server in everyone if not server.missing]
    todo = list(plan(present, arguments))
    if arguments.list:
        for server, group in todo:
            print(server.name, *(scenario.name for scenario in group))
        return
    if not (TOOLS / "load").exists():
        sys.exit("The benchmark's tools are not built: run bench/setup.sh.")
    for name, reason in skipped.items():
        print(f"{name} is left out: {reason}")

    # Ends what was started when told to end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    material.write_all()
    # What watches a server must not take its core.
    os.sched_setaffinity(0, {1})
    results = {
        "machine": machine(),
        "rounds": arguments.rounds, "seconds": arguments.seconds,
        "versions": {server.name: server.version for server in present if server.version}
        | {"clearing": clearing.versions()},
        "skipped": skipped, "samples": [], "clearing": [], "disk": {},
        "others_share": [],
    }
    checked = set()
    gateway = next((server for server in present if server.name == "gateway"), None)
    for round_number in range(arguments.rounds):
        others = others_share()
        results["others_share"].append(others)
        busy = f"; other programs use {others:.0%} of the machine" if others > 0.05 else ""
        print(f"round {round_number + 1} of {arguments.rounds}{busy}", flush=True)
        for server, group in todo:
            if server.name in skipped:
                continue
            try:
                samples = visit(server, group, arguments.seconds, server.name not in checked)
            except (Failed, OSError) as reason:
                print(f"{server.name} is left out from here: {reason}", flush=True)
                skipped[server.name] = str(reason)
                continue
            checked.add(server.name)
            results["samples"] += [{"round": round_number, **sample} for sample in samples]
        if gateway and not arguments.no_clearing:
            try:
                for way, connections, seconds in clearing.measure(gateway, round_number):
                    print(f"  clearing: {way}, {connections} at once: {seconds:.1f} s", flush=True)
                    results["clearing"].append(
                        {"round": round_number, "way": way, "connections": connections,
                         "seconds": seconds})
            except (Failed, OSError) as reason:
                print(f"clearing is cut short: {reason}", flush=True)
        if any(server.name in TRAILS for server, _ in todo):
            for store, microseconds in disk.measure():
                print(f"  {store}: a bare commit takes {microseconds:.0f} µs", flush=True)
                results["disk"].setdefault(store, []).append(microseconds)
        output.mkdir(parents=True, exist_ok=True)
        (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        report.write(output)
    print(f"\n{(output / 'table.md').read_text()}\nWritten to {output}")


if __name__ == "__main__":
    main()
