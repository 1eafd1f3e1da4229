"""What the disk takes for one durable write, which no store can do without."""

import os
import time
from statistics import median

import postgres
from material import WORK
from processes import Failed


def measure(writes=1000):
    """Yields each kind of store with the median of its barest commit, in microseconds."""
    yield "sqlite", fdatasync_us(writes)
    if postgres.BINARIES:
        try:
            with postgres.running(core=1):
                yield "postgres", postgres.commit_p50_us(writes)
        except Failed as reason:
            print(f"PostgreSQL's commits are not measured: {reason}", flush=True)


def fdatasync_us(writes):
    """Of appending a page to a file."""
    path = WORK / "fdatasync"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(writes):
            file.write(bytes(8192))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begun) * 1e6)
    path.unlink()
    return median(times)
