"""A real browser against a real server: Chromium, and granian on the tests' own database.

`page` fails its test on anything a person would find in the console: errors, what the CSP refused, requests that leave
the machine. `sign_in` opens a session without the form. `tidy` is what every page must pass: axe without violations,
in light and dark, and nothing wider than a phone.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from agents.models import User

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
]
PATIENCE_MS = 20_000  # what a loaded machine may take for what takes a moment on a quiet one
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 780}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all these tests. Its library keeps an event loop running, which Django takes for async code."""
    if not Path(CHROMIUM).exists():
        missing = f"There is no browser at {CHROMIUM}: apt-get install chromium, or name one in CHROMIUM."
        if os.environ.get("CI") == "true" or os.environ.get("COCKPIT_REQUIRE_BROWSER"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="package")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on the tests' database; what a test commits, it shows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("site") / "log"
    command = [sys.executable, "-m", "granian", "--interface", "asginl", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "cockpit.asgi:application"], cwd=ROOT, stdout=output, stderr=output, env=_environment(url)
        )
        try:
            _await(url, server, log)
            yield url
        finally:
            server.terminate()
            server.wait(15)


def _environment(url: str) -> dict[str, str]:
    """The same installation as the tests', but on the database that pytest-django made for them."""
    database = urlsplit(settings.DATABASE_URL)._replace(path=f"/{connections['default'].settings_dict['NAME']}")
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
        "DATABASE_URL": urlunsplit(database),
        "REDIS_URL": settings.REDIS_URL,
        "COCKPIT_URL": url,
        "COCKPIT_DEMO": "yes",  # the demo's tools are what tests of the other apps ask about
        "PYTHONPATH": str(ROOT),
    }


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            with urlopen(f"{url}/healthz", timeout=2):
                return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
    pytest.fail(f"The server did not start:\n{log.read_text()[-3000:]}", pytrace=False)


@pytest.fixture
def page(chromium: Browser, site: str, transactional_db: None) -> Iterator[Page]:
    """A page of its own browser profile, on the tests' server. What would be in its console fails the test."""
    with chromium.new_context(base_url=site, viewport=WIDE, timezone_id="Europe/Berlin", locale="en-GB") as context:
        opened = context.new_page()
        complaints = Complaints(site)
        opened.on("console", complaints.said)
        opened.on("pageerror", complaints.thrown)
        opened.on("request", complaints.asked)
        yield opened
        opened.close()
    assert complaints.list == []


class Complaints:
    """What a browser complained about. `expected` holds words of complaints that a test provokes."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.list: list[str] = []
        self.expected: list[str] = ["the server responded with a status of 4"]  # refusals are answers, not faults

    def said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._note(message.text)

    def thrown(self, error: Error) -> None:
        self._note(str(error))

    def asked(self, request: Request) -> None:
        if not request.url.startswith((self.site, "data:", "blob:")):
            self._note(f"a request left the machine: {request.url}")

    def _note(self, text: str) -> None:
        if not any(words in text for words in self.expected):
            self.list.append(text)


@pytest.fixture
def sign_in(page: Page, site: str) -> Callable[[User], None]:
    """Signs the page in as somebody, without the form."""

    def enter(person: User) -> None:
        client = Client()
        client.force_login(person)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        page.context.add_cookies([{"name": f"cockpit_{urlsplit(site).port}", "value": session, "url": site}])

    return enter


@pytest.fixture
def tidy(page: Page) -> Callable[[], None]:
    """Asserts that the page as it is now is fit for everyone."""
    return partial(assert_tidy, page)


def assert_tidy(page: Page) -> None:
    """axe without violations in both themes and on a phone, and nothing wider than the phone."""
    wide = page.viewport_size
    _assert_accessible(page, "light")
    page.emulate_media(color_scheme="dark")
    _assert_accessible(page, "dark", only=["color-contrast"])  # nothing else differs between the themes
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a plain dict of the right keys
    _assert_accessible(page, "on a phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "something sticks out to the right"
    if wide:
        page.set_viewport_size(wide)


def _assert_accessible(page: Page, where: str, *, only: Sequence[str] = ()) -> None:
    """axe-core over the whole document, by the rules of WCAG 2.2 AA and its own best practices."""
    options = {"runOnly": list(only)} if only else {}
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    told = [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes']][:5]}" for one in found]
    if told:
        pytest.fail(f"axe, {where}, {page.url}:\n" + "\n".join(told), pytrace=False)
