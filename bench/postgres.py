"""A PostgreSQL cluster for the benchmark, with Debian's settings but for the port."""

import contextlib
import glob
import os
import shutil
import subprocess
import time

from material import WORK
from processes import Failed, pin

PORT = 18077
URL = f"postgres://gateway@127.0.0.1:{PORT}/postgres"
#: Where Debian keeps the server's programs.
BINARIES = max(glob.glob("/usr/lib/postgresql/*/bin"), default=None)
FOLDER = "/tmp/glacier-gateway-bench-postgres"


def _as_postgres(*command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else list(command)


@contextlib.contextmanager
def running(core=None):
    """Starts an empty cluster, and ends it afterwards."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    if os.getuid() == 0:
        shutil.chown(FOLDER, "postgres")
    data = f"{FOLDER}/data"
    made = subprocess.run(_as_postgres(f"{BINARIES}/initdb", "-D", data, "-U", "gateway",
                                       "--auth=trust", "--encoding=UTF8"),
                          capture_output=True, text=True, cwd="/")
    if made.returncode != 0:
        raise Failed(f"initdb: {made.stderr[-400:]}")
    with (WORK / "postgres.log").open("wb") as log:
        server = subprocess.Popen(
            [*pin(core), *_as_postgres(f"{BINARIES}/postgres", "-D", data, f"-p{PORT}",
                                       "-clisten_addresses=127.0.0.1", f"-k{FOLDER}")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    try:
        deadline = time.monotonic() + 30
        while subprocess.run([f"{BINARIES}/pg_isready", "-h127.0.0.1", f"-p{PORT}", "-q"],
                             cwd="/").returncode != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"PostgreSQL did not start: see {WORK}/postgres.log")
            time.sleep(0.05)
        yield
    finally:
        subprocess.run(_as_postgres(f"{BINARIES}/pg_ctl", "-D", data, "-m", "fast", "stop"),
                       capture_output=True, cwd="/")
        server.wait()
        shutil.rmtree(FOLDER, ignore_errors=True)


def commit_p50_us(commits=1000):
    """The median of one-row commits, one after the other, in microseconds."""
    script = f"{FOLDER}/insert.sql"
    with open(script, "w") as file:
        file.write("INSERT INTO bare VALUES (1);\n")
    psql = [f"{BINARIES}/psql", "-h127.0.0.1", f"-p{PORT}", "-Ugateway", "-q", "postgres"]
    subprocess.run([*psql, "-c", "CREATE TABLE bare (n int)"], check=True, cwd="/")
    subprocess.run([f"{BINARIES}/pgbench", "-h127.0.0.1", f"-p{PORT}", "-Ugateway", "-n", "-l",
                    f"--log-prefix={FOLDER}/pgbench", f"-t{commits}", "-f", script, "postgres"],
                   check=True, capture_output=True, cwd="/")
    logs = glob.glob(f"{FOLDER}/pgbench.*")
    times = sorted(int(line.split()[2]) for path in logs for line in open(path))
    return times[len(times) // 2]
