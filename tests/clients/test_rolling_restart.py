"""Two gateways behind HAProxy are restarted one after the other, while callers call."""

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from conftest import ACCOUNT, Gateway, Serve

CALLERS = 8
PROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option httpchk GET /readyz
frontend callers
    bind 127.0.0.1:{port}
    default_backend gateways
backend gateways
    default-server check inter 100ms fall 1 rise 1
{servers}
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Callers(threading.Thread):
    """Lists the uploads of a vault again and again, and keeps what did not succeed."""

    def __init__(self, url, token):
        super().__init__(daemon=True)
        self.request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        self.answered, self.failures, self.stopping = 0, [], threading.Event()

    def run(self):
        while not self.stopping.is_set():
            try:
                with urllib.request.urlopen(self.request, timeout=30) as reply:
                    json.load(reply)
                self.answered += 1
            except (OSError, ValueError) as error:
                self.failures.append(repr(error))


@pytest.fixture
def proxied(tmp_path):
    dev = Gateway()
    port, *ports = free_ports(5)
    listens = [ports[:2], ports[2:]]
    folders = [tmp_path / name for name in ("first", "second")]

    def start(number):
        rest, management = listens[number]
        folder = folders[number]
        folder.mkdir(exist_ok=True)
        settings = {
            "GATEWAY__SERVER__LISTEN": f"127.0.0.1:{rest}",
            "GATEWAY__SERVER__MANAGEMENT_LISTEN": f"127.0.0.1:{management}",
            # Longer than the proxy takes to notice.
            "GATEWAY__SERVER__SHUTDOWN_DELAY": "1s",
            "GATEWAY__STORE__URL": f"sqlite:{folder}/store.db",
            "GATEWAY__AUDIT__CHECKPOINT_FILE": f"{folder}/checkpoint",
            "AWS_ACCESS_KEY_ID": dev.simulator["accessKeyId"],
            "AWS_SECRET_ACCESS_KEY": dev.simulator["secretAccessKey"],
        }
        return Serve(dev.config, folder, settings)

    gateways = [start(0), start(1)]
    servers = "\n".join(
        f"    server gateway{number} 127.0.0.1:{rest} check port {management}"
        for number, (rest, management) in enumerate(listens)
    )
    config = tmp_path / "haproxy.cfg"
    config.write_text(PROXY.format(port=port, servers=servers))
    proxy = subprocess.Popen(("/usr/sbin/haproxy", "-db", "-f", config))
    until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    yield dev, f"http://127.0.0.1:{port}", gateways, start
    proxy.kill()
    proxy.wait()
    for gateway in gateways:
        gateway.stop()
    dev.stop()


def test_no_request_is_lost_while_gateways_are_restarted_in_turn(proxied):
    dev, address, gateways, start = proxied
    url = f"{address}/v1/accounts/-/vaults/media-photos/multipart-uploads"
    callers = [Callers(url, dev.tokens["media"]) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()

    def served_by(number):
        return len(gateways[number].events("request"))

    for _ in range(2):
        for number in range(2):
            before = served_by(number)
            until(lambda: served_by(number) > before + 50)
            gateways[number].stop()
            gateways[number] = start(number)
            until(lambda: served_by(number) > 50)
    for caller in callers:
        caller.stopping.set()
    for caller in callers:
        caller.join()
    failures = [failure for caller in callers for failure in caller.failures]
    assert not failures, f"{len(failures)} failed: {failures[:5]}"
    assert sum(caller.answered for caller in callers) > 400
