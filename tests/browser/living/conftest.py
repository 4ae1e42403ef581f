"""One cockpit for these tests, as `manage.py up` starts it: web server, workers, tick, on a database of its own.

The bakery works there, with agents of its workspace that are slow on purpose and never by chance. Everything is seen
and done through the browser: `sit("olga")` is a page in which olga is signed in.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, build_opener

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, StorageState

from cockpit import environment
from cockpit.servers import free_port
from tests.browser.conftest import PHONE, WIDE, Complaints

WORKSPACE = Path(__file__).parent / "workspace"
PEOPLE = {
    "olga": ("operator", "bakery"),
    "rhea": ("reviewer", "bakery"),
    "ada": ("admin", ""),
    "stella": ("operator", "roastery"),
}
READY_S, END_S = 90.0, 30.0
DATABASE = "cockpit_living"
Sit = Callable[..., Page]
_direct = build_opener(ProxyHandler({}))


@dataclass
class Cockpit:
    """A cockpit that runs, and what is needed to get in."""

    url: str
    environment: dict[str, str]

    @staticmethod
    def password(person: str) -> str:
        """What somebody signs in with."""
        return f"{person}-opens-every-door"

    def run(self, script: str) -> None:
        """A script beside it, with the product set up, as its commands do their work."""
        command = [sys.executable, "-c", f"import django; django.setup()\n{script}"]
        done = subprocess.run(command, cwd=environment.ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="package")
def cockpit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cockpit]:
    """The cockpit, with the bakery's people and agents in it."""
    folder = tmp_path_factory.mktemp("living")
    port = free_port()
    made = Cockpit(f"http://127.0.0.1:{port}", _environment(folder))
    log = folder / "log"
    command = [sys.executable, str(environment.ROOT / "manage.py"), "up", "--no-demo", "--workers", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--data-dir", str(folder / "var")],
            env=made.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await(made, process, log)
        _open_shop(made)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_S)


def _environment(folder: Path) -> dict[str, str]:
    """The session's servers, in rooms of them that no other test uses."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{DATABASE}")),
        "REDIS_URL": urlunsplit(urlsplit(settings.REDIS_URL)._replace(path="/7")),
        "DJANGO_SETTINGS_MODULE": "cockpit.settings",
        "COCKPIT_DATA_DIR": str(folder / "var"),
        "COCKPIT_WORKSPACE": str(WORKSPACE),
        "COCKPIT_ORGANISATION": "The Bakery",
    }


def _await(made: Cockpit, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until everything that belongs to it says that it is there, the workers too."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with _direct.open(f"{made.url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"The cockpit did not start:\n{log.read_text()[-3000:]}", pytrace=False)


SHOP = """
from pathlib import Path
from agents.people import accounts, teams
from agents.registry import bundles, publishing
for name, role, team, password in {people!r}:
    accounts.create_user(name, role=role, team=teams.found(team, by=None) if team else None, password=password, by=None)
for file in sorted(Path({workspace!r}).glob("agents/*.toml")):
    publishing.publish(bundles.read(file), by=None)
"""


def _open_shop(made: Cockpit) -> None:
    """The people and the agents, in one process: each command for itself would take seconds to begin."""
    people = [(name, role, team, made.password(name)) for name, (role, team) in PEOPLE.items()]
    made.run(SHOP.format(people=people, workspace=str(WORKSPACE)))


TAKE_BACK = """
from uuid import uuid4
from agents.models import Override
from agents.runs import overriding
for one in Override.objects.filter(ended_at=None, run=None).select_related("agent", "by"):
    overriding.revert(one.agent, parameter=one.parameter, by=one.by, request_id=uuid4())
"""


@pytest.fixture
def as_released(cockpit: Cockpit) -> Iterator[None]:
    """Agents are as their releases say when a test begins, and again when it ended, however it did."""
    cockpit.run(TAKE_BACK)
    yield
    cockpit.run(TAKE_BACK)


@pytest.fixture(scope="package")
def keys(cockpit: Cockpit, chromium: Browser) -> Callable[[str], StorageState]:
    """The cookies of somebody who has signed in by the form, once for the session."""
    known: dict[str, StorageState] = {}

    def of(person: str) -> StorageState:
        if person not in known:
            with chromium.new_context(base_url=cockpit.url) as context:
                page = context.new_page()
                page.goto("/login/")
                sign_in(page, person)
                page.wait_for_url(re.compile(r"/$"))
                known[person] = context.storage_state()
        return known[person]

    return of


def sign_in(page: Page, person: str) -> None:
    """Fill in the form and press the button."""
    page.get_by_label("Name").fill(person)
    page.get_by_label("Password").fill(Cockpit.password(person))
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def sit(cockpit: Cockpit, chromium: Browser, keys: Callable[[str], StorageState]) -> Iterator[Sit]:
    """Pages in which somebody is signed in. What would be in their console fails the test."""
    with ExitStack() as contexts:
        complaints = Complaints(cockpit.url)

        def down(person: str = "", path: str = "", *, phone: bool = False) -> Page:
            state = keys(person) if person else None
            context = contexts.enter_context(
                chromium.new_context(
                    base_url=cockpit.url,
                    storage_state=state,
                    viewport=PHONE if phone else WIDE,  # type: ignore[arg-type]  # a plain dict of the right keys
                    timezone_id="Europe/Berlin",
                    locale="en-GB",
                    bypass_csp=False,
                )
            )
            page = context.new_page()
            page.on("console", complaints.said)
            page.on("pageerror", complaints.thrown)
            page.on("request", complaints.asked)
            if path:
                page.goto(path)
            return page

        yield down
    assert complaints.list == []
