"""A real OpenID provider vouches for callers: npm's oidc-provider."""

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expected

from conftest import ACCOUNT, KEY_ID, REGION, ROOT, SECRET, Serve
from test_swagger_ui import SwaggerUi, browser  # noqa: F401 (a fixture)

RESOURCE = "urn:glacier-gateway"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Issuer:
    """The provider as a process; a new one under the old name is the same."""

    def __init__(self, directory, redirect_uri):
        self.arguments = [str(directory / "keys.json"), str(free_port()), redirect_uri]
        self.start()

    def start(self):
        command = ["node", str(Path(__file__).with_name("oidc-issuer.mjs")), *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Its warnings about being a test come first.
        for line in self.process.stdout:
            if line.startswith("{"):
                self.url = json.loads(line)["issuer"]
                return
        raise AssertionError("the provider did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def order(self, order):
        urllib.request.urlopen(f"{self.url}/control/{order}", b"", timeout=10).close()

    def token(self, team):
        """A token of the client credentials grant (RFC 6749, section 4.4)."""
        form = {"grant_type": "client_credentials", "resource": RESOURCE, "scope": "abort"}
        request = urllib.request.Request(self.url + "/token", urllib.parse.urlencode(form).encode())
        secret = base64.b64encode(f"{team}-service:{team}-secret".encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)["access_token"]


class Served(Serve):
    """`glacier-gateway serve` that trusts the provider, a simulator behind it."""

    def __init__(self, directory, simulator, issuer, port):
        config = directory / "gateway.toml"
        policies = directory / "policies"
        shutil.copytree(ROOT / "examples/policies", policies)
        config.write_text(f"""
            [server]
            listen = "127.0.0.1:{port}"
            management_listen = "127.0.0.1:0"
            workers = 1
            [aws]
            region = "{REGION}"
            account_id = "{ACCOUNT}"
            endpoint_url = "{simulator.endpoint}"
            [policy]
            directory = "{policies}"
            [issuers.provider]
            issuer = "{issuer.url}"
            audiences = ["glacier-gateway"]
            typ = ["at+jwt"]
            team_claim = "/groups"
            team_prefix = "glacier-"
            keys_refresh = "1s"
            [swagger_ui]
            client_id = "swagger-ui"
            authorization_url = "{issuer.url}/auth"
            token_url = "{issuer.url}/token"
            scopes = ["openid", "abort"]
            parameters = {{ resource = "{RESOURCE}" }}
        """)
        super().__init__(config, directory, {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})

    def call(self, method, path, token):
        """The reply's status and its problem's code."""
        request = urllib.request.Request(self.rest + path, method=method)
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, None
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["code"]


@pytest.fixture
def parts(tmp_path, simulator):
    port = free_port()
    issuer = Issuer(tmp_path, f"http://127.0.0.1:{port}/docs/oauth2-redirect.html")
    gateway = Served(tmp_path, simulator, issuer, port)
    yield gateway, issuer, simulator
    gateway.stop()
    issuer.stop()


def uploads(vault, upload=None):
    path = f"/v1/accounts/-/vaults/{vault}/multipart-uploads"
    return f"{path}/{upload}" if upload else path


def test_a_service_aborts_with_its_client_credentials(parts):
    gateway, issuer, simulator = parts
    (upload,) = simulator.seed("media-photos", {})
    path = uploads("media-photos", upload)
    assert gateway.call("DELETE", path, issuer.token("finance")) == (403, "not-authorized")
    assert simulator.upload_status(upload) == "in-progress"
    assert gateway.call("DELETE", path, issuer.token("media")) == (204, None)
    assert simulator.upload_status(upload) == "aborted"


def test_keys_rotate_while_requests_run(parts):
    gateway, issuer, simulator = parts
    simulator.seed("media-photos", {})
    refused, served, done = [], [], threading.Event()

    def call_on():
        while not done.is_set():
            outcome = gateway.call("GET", uploads("media-photos"), issuer.token("media"))
            (served if outcome == (200, None) else refused).append(outcome)

    old = issuer.token("media")
    callers = [threading.Thread(target=call_on) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(3):
        before = len(served)
        issuer.order("rotate")
        wait_until(lambda: len(served) >= before + 40, "requests stopped")
        assert gateway.call("GET", uploads("media-photos"), old) == (200, None)
    done.set()
    for caller in callers:
        caller.join()
    assert refused == []
    issuer.order("withdraw")
    gone = lambda: gateway.call("GET", uploads("media-photos"), old) == (401, "token-invalid")  # noqa: E731
    wait_until(gone, "the withdrawn key still serves")
    assert gateway.call("GET", uploads("media-photos"), issuer.token("media")) == (200, None)


def test_the_issuer_goes_down_and_comes_back(parts):
    gateway, issuer, simulator = parts
    simulator.seed("media-photos", {})
    token = issuer.token("media")
    issuer.stop()
    wait_until(lambda: "cannot read the issuer" in gateway.log.read_text(), "not noticed")
    # Seen before or not, a good token serves.
    for _ in range(3):
        assert gateway.call("GET", uploads("media-photos"), token) == (200, None)
    issuer.start()
    issuer.order("rotate")
    new = issuer.token("media")
    served = lambda: gateway.call("GET", uploads("media-photos"), new) == (200, None)  # noqa: E731
    wait_until(served, "the issuer that came back is not believed")


def test_a_person_signs_in_from_swagger_ui(parts, browser):  # noqa: F811
    gateway, _, simulator = parts
    (upload,) = simulator.seed("media-photos", {})
    page = SwaggerUi(browser, gateway.rest + "/docs/")
    page.click(".auth-wrapper .authorize")
    page.click(".modal-ux .btn.authorize[aria-label='Apply given OAuth2 credentials']")

    docs, popup = browser.current_window_handle, None
    page.wait.until(expected.number_of_windows_to_be(2))
    (popup,) = set(browser.window_handles) - {docs}
    browser.switch_to.window(popup)
    page.fill("input[name=login]", "media")
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.wait.until(expected.presence_of_element_located((By.CSS_SELECTOR, "input[value=consent]")))
    page.click("button[type=submit]")
    page.wait.until(expected.number_of_windows_to_be(1))
    browser.switch_to.window(docs)

    page.click(".modal-ux .btn-done")
    status, _ = page.execute(
        "abortMultipartUpload", accountId="-", vaultName="media-photos", uploadId=upload
    )
    assert status == "204"
    assert simulator.upload_status(upload) == "aborted"
    browser.save_screenshot(str(ROOT / ".cache/swagger-ui-signed-in.png"))
