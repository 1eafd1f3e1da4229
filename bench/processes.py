"""Starting, watching and stopping processes, and what Linux knows of them."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from material import WORK

TICK = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count()


class Failed(Exception):
    """A process did not do what it was started for."""


def pin(core):
    """Puts a command onto one core, or onto all."""
    return ["taskset", "--cpu-list", f"0-{CORES - 1}" if core is None else str(core)]


@contextlib.contextmanager
def running(name, command, env, ready, core=None):
    """Starts a command in a process group of its own, on one core if given, and ends all of
    it afterwards. Yields its process ID and the seconds until `ready` answered. It writes
    into a file on disk, since that is where a log goes."""
    if answers(ready):
        raise Failed(f"{ready} is in use by another process")
    with (WORK / f"{name}.log").open("ab") as log:
        log.truncate(0)
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*pin(core), *map(str, command)], env=env, cwd=WORK, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )
    try:
        while not answers(ready):
            if process.poll() is not None or time.perf_counter() - begun > 30:
                last = (WORK / f"{name}.log").read_text(errors="replace")[-800:]
                raise Failed(f"{name} did not start: {last}")
            time.sleep(0.001)
        yield process.pid, time.perf_counter() - begun
    finally:
        stop(process)


def stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        # Workers that outlived their parent.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(url):
    """Whether there is an HTTP server; it is ready if its probe, where it has one, says so."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
        return True
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False


def tree(pid):
    """A process and its descendants."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def cpu_seconds(pid):
    """User and system time that a process and its descendants have used."""
    ticks = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def others_share(seconds=2):
    """The share of the machine that others use, or that its host withholds, while this waits."""

    def read():
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields)
        busy = user + nice + system + irq + softirq + steal
        return busy, busy + idle + iowait

    busy, total = read()
    time.sleep(seconds)
    busy, total = (after - before for after, before in zip(read(), (busy, total)))
    return busy / total


def peak_memory(pid):
    """The most bytes that a process and its descendants had resident, each at its peak.
    What they share is counted for each."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            peak = next(line for line in lines if line.startswith("VmHWM:"))
            total += int(peak.split()[1]) * 1024
    return total


def load(tool, port, requests, connections, seconds, once=False, core=None):
    """Runs the load generator to its end; see its documentation for what it reports."""
    command = [*pin(core), tool, f"--to=127.0.0.1:{port}", f"--requests={WORK}/{requests}.requests",
               f"--connections={connections}", f"--seconds={seconds}", *["--once"] * once]
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                              timeout=seconds + 60)
    except subprocess.TimeoutExpired:
        raise Failed("some requests were never answered") from None
    if done.returncode != 0:
        raise Failed(f"the load generator: {done.stderr[-400:]}")
    return json.loads(done.stdout)
