"""The servers every test may count on, started before anything reads a setting. The cast stands in `tests/cast.py`.

Real PostgreSQL and a real Redis-compatible server live in a folder of their own for the session; `DATABASE_URL` and
`REDIS_URL` make the tests use other ones. pytest-django leaves Django alone until `DJANGO_SETTINGS_MODULE` is known:
that is why it is named here, behind the servers, and not in pyproject.toml.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
import pytest_django

from cockpit.servers import Postgres, Redis

# A plugin, not an import: its models can only be imported once Django is set up below.
pytest_plugins = ["tests.cast"]

_folder = Path(tempfile.mkdtemp(prefix="cockpit-tests-"))
_servers = [kind(_folder, test=True) for kind in (Postgres, Redis) if kind.variable not in os.environ]


def _stop() -> None:
    for server in _servers:
        server.stop()
    shutil.rmtree(_folder, ignore_errors=True)


def pytest_unconfigure() -> None:
    _stop()


atexit.register(_stop)
os.environ["COCKPIT_DATA_DIR"] = str(_folder)
for _server in _servers:
    os.environ[_server.variable] = _server.start().url
os.environ["DJANGO_SETTINGS_MODULE"] = "cockpit.settings"
django.setup()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: their library keeps an event loop running in this thread to the end of the session."""
    items.sort(key=lambda item: "tests/browser/" in item.nodeid)
    for item in items:
        # They go by the clock of a machine that others may use: what fails must fail twice. The summary names them.
        if item.get_closest_marker("browser") or item.get_closest_marker("crash"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def _breakers_closed() -> Iterator[None]:
    """No test leaves an open breaker to the next: all of them share one Redis."""
    from agents.llm import breakers

    yield
    breakers.forget()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """The engine's own connections and threads end before the test database does."""
    from django.db import connection

    from agents.runs import hotpath, keeper

    yield
    keeper.close()
    hotpath.close()
    with django_db_blocker.unblock():
        connection.close()
