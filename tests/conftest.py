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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """Tables that are never emptied may be emptied between tests; the engine's connections end with the session."""
    from django.db import connection

    from agents.runs import hotpath, keeper

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgtype & 32 <> 0 AND NOT tgisinternal"
        )
        for table, trigger in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    yield
    keeper.close()
    hotpath.close()
    with django_db_blocker.unblock():
        connection.close()
