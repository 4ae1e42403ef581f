"""The cast: the people every test knows, and what they work with.

**olga** operates, **rhea** reviews, **max** reads reports, the **governor** publishes; they work in one team. The
**stranger** may do everything, in another team: whatever shows them something is wrong.
"""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from agents.models import Agent, Role, Run, Team, User
from tests import factories


def pytest_configure() -> None:
    """A password's hash is slow on purpose, a second or so each; the cast would spend a minute on nothing else."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


KEPT = """
    SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger
    WHERE tgtype & 32 > 0 AND NOT tgisinternal  -- 32: fires on TRUNCATE
"""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Tests that commit empty every table behind them. Some tables refuse that, and still do while a test runs."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(KEPT)
        kept = cursor.fetchall()
    kind = type(connection.ops)  # the class: under a browser's event loop this thread has a connection of its own
    empty = kind.execute_sql_flush
    off = [f"ALTER TABLE {table} DISABLE TRIGGER {trigger}" for table, trigger in kept]
    on = [f"ALTER TABLE {table} ENABLE TRIGGER {trigger}" for table, trigger in kept]
    kind.execute_sql_flush = lambda ops, statements: empty(ops, [*off, *statements, *on])  # in one transaction


@pytest.fixture
def team(db: None) -> Team:
    """Where the cast works."""
    return factories.team("service")


@pytest.fixture
def olga(team: Team) -> User:
    """Operates: starts and steers runs."""
    return factories.person("olga", Role.OPERATOR, of=team)


@pytest.fixture
def rhea(team: Team) -> User:
    """Reviews: decides what agents may not do alone."""
    return factories.person("rhea", Role.REVIEWER, of=team)


@pytest.fixture
def max_(team: Team) -> User:
    """Manages: reads what it costs."""
    return factories.person("max", Role.MANAGER, of=team)


@pytest.fixture
def governor(team: Team) -> User:
    """Governs: publishes releases, freezes agents."""
    return factories.person("gwen", Role.GOVERNANCE, of=team)


@pytest.fixture
def stranger(db: None) -> User:
    """Works elsewhere, with every permission there."""
    return factories.person("stella", Role.ADMIN, of=factories.team("roastery"))


@pytest.fixture
def agent(team: Team) -> Agent:
    """The agent that answers tickets."""
    return factories.agent("desk", of=team)


@pytest.fixture
def run(agent: Agent, olga: User) -> Run:
    """A run that olga started and nobody drives yet."""
    return factories.run(agent, by=olga)
