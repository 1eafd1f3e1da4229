"""A person in Swagger UI, in a real browser."""

import os

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import WebDriverWait

from conftest import ROOT


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1800",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]:
        options.add_argument(argument)
    options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
    yield driver
    console = [entry["message"] for entry in driver.get_log("browser")]
    driver.quit()
    assert not [line for line in console if "Content Security Policy" in line], console


class SwaggerUi:
    """What a person does on the page."""

    def __init__(self, browser, docs):
        self.browser = browser
        self.wait = WebDriverWait(browser, 30)
        browser.get(docs)

    def find(self, selector):
        return self.wait.until(expected.element_to_be_clickable((By.CSS_SELECTOR, selector)))

    def click(self, selector):
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def fill(self, selector, text):
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def authorize(self, token):
        self.click(".auth-wrapper .authorize")
        if self.browser.find_elements(By.CSS_SELECTOR, ".auth-container input") == []:
            self.click(".auth-btn-wrapper .auth:not(.btn-done)")  # log out first
        self.fill(".auth-container input", token)
        self.click(".auth-btn-wrapper .authorize")
        self.click(".auth-btn-wrapper .btn-done")

    def execute(self, operation, **parameters):
        """Executes an operation and returns the reply's status and body."""
        block = f"[id$='-{operation}']"
        if "is-open" not in self.find(block).get_attribute("class"):
            self.click(f"{block} .opblock-summary-control")
        for name, value in parameters.items():
            self.fill(f"{block} tr[data-param-name='{name}'] input", value)
        self.click(f"{block} .execute")
        reply = f"{block} .live-responses-table .response"
        status = self.wait.until(
            expected.visibility_of_element_located((By.CSS_SELECTOR, f"{reply} .response-col_status"))
        )
        return status.text.split()[0], self.browser.find_element(By.CSS_SELECTOR, reply).text

    def clear(self, operation):
        self.click(f"[id$='-{operation}'] .btn-clear")


def test_a_person_aborts_an_upload_and_another_team_may_not(browser, gateway):
    vault = gateway.vaults[0]["name"]
    first, second = [upload["uploadId"] for upload in gateway.vaults[0]["uploads"][:2]]
    page = SwaggerUi(browser, gateway.docs)

    page.authorize(gateway.tokens["media"])
    status, _ = page.execute(
        "abortMultipartUpload", accountId="-", vaultName=vault, uploadId=first
    )
    assert status == "204"
    assert first not in gateway.uploads(vault)
    (ROOT / ".cache").mkdir(exist_ok=True)
    browser.save_screenshot(str(ROOT / ".cache/swagger-ui-204.png"))

    page.clear("abortMultipartUpload")
    page.authorize(gateway.tokens["finance"])
    status, body = page.execute("abortMultipartUpload", uploadId=second)
    assert status == "403"
    assert "implicitDeny" in body and "teams/finance.json" in body
    assert second in gateway.uploads(vault)
    browser.save_screenshot(str(ROOT / ".cache/swagger-ui-403.png"))

    browser.refresh()
    status, _ = page.execute("listVaults", accountId="-")
    assert status == "401", "the browser keeps no token"
