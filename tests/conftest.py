"""The servers every test may count on, started before anything reads a setting. The cast stands in `tests/cast.py`.

Real PostgreSQL and a real Redis-compatible server live in a folder of their own for the session, and for each process
where several share the tests (`-n 2`); `DATABASE_URL` and `REDIS_URL` make the tests use other ones. pytest-django
leaves Django alone until `DJANGO_SETTINGS_MODULE` is known: that is why it is named here, behind the servers, and not
in pyproject.toml.
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

from cockpit.servers import Postgres, Redis, Server

# Plugins, not imports: the cast's models can only be imported once Django is set up below.
pytest_plugins = ["tests.cast", "tests.sharing"]

_folder = Path(tempfile.mkdtemp(prefix="cockpit-tests-"))
_servers: list[Server] = []


def _stop() -> None:
    while _servers:
        _servers.pop().stop()
    shutil.rmtree(_folder, ignore_errors=True)


def pytest_unconfigure() -> None:
    _stop()


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """The first hook there is: the tests' other files are imported behind it, and they want Django set up."""
    runs_tests = "PYTEST_XDIST_WORKER" in os.environ or not _hands_out(pluginmanager.get_plugin("pytestconfig"))
    if runs_tests:
        atexit.register(_stop)
        os.environ["COCKPIT_DATA_DIR"] = str(_folder)
        _start()
    os.environ["DJANGO_SETTINGS_MODULE"] = "cockpit.settings"
    django.setup()
    if not runs_tests:  # whoever does begins with our environment, and must not read settings ahead of its servers
        del os.environ["DJANGO_SETTINGS_MODULE"]


def _hands_out(config: pytest.Config) -> bool:
    """Whether this process runs no tests itself, because others do (`pytest -n 2`)."""
    return bool(getattr(config.known_args_namespace, "numprocesses", None))


def _start() -> None:
    for kind in (Postgres, Redis):
        if kind.variable not in os.environ:
            _servers.append(kind(_folder, test=True))
            os.environ[kind.variable] = _servers[-1].start().url
        elif "PYTEST_XDIST_WORKER" in os.environ:
            raise pytest.UsageError(f"{kind.variable} names a server that several processes would share: use -n 0.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # They go by the clock of a machine that others may use: what fails must fail twice. The summary names them.
        if item.get_closest_marker("browser") or item.get_closest_marker("crash"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """The keeper of what this process drives goes on writing that somebody is at work: not where all is rolled back."""
    from agents.runs import keeper

    if nextitem is None or not _commits(nextitem):
        keeper.close()


def _commits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return bool(marker and marker.kwargs.get("transaction")) or "transactional_db" in getattr(item, "fixturenames", ())


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
    from cockpit import live

    live.announce("tests")
    live._announcer.flush()  # it keeps the Redis it first met, and some tests have one of their own that dies with them
    yield
    keeper.close()
    hotpath.close()
    with django_db_blocker.unblock():
        connection.close()
