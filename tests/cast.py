"""The cast: the people every test knows, and what they work with.

**olga** operates, **rhea** reviews, **max** reads reports, the **governor** publishes; they work in one team. The
**stranger** may do everything, in another team: whatever shows them something is wrong.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import TransactionTestCase

from agents.models import Agent, Role, Run, Team, User
from tests import factories


def pytest_configure() -> None:
    """A password's hash is slow on purpose, a second or so each; the cast would spend a minute on nothing else."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


KEPT = {"django_migrations", "django_content_type", "auth_permission"}  # what `migrate` writes and tests never change
LARGE = 1_000_000  # bytes


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Tests that commit leave empty tables behind. Django would truncate them all, which takes many times as long."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        tables = sorted({name for (name,) in cursor.fetchall()} - KEPT)
    TransactionTestCase._fixture_teardown = lambda case: empty(tables)


def empty(tables: Sequence[str]) -> None:
    """Delete all that was committed, as soon as nobody is about to commit more; no foreign key and no trigger objects.

    The user of the database has to be a superuser for that, as the owner of a cluster is.
    """
    found = (f"SELECT '{table}', pg_relation_size('{table}') WHERE EXISTS (SELECT FROM {table})" for table in tables)
    with connection.cursor() as cursor:
        with transaction.atomic():
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(" UNION ALL ".join(found))
            filled = cursor.fetchall()
            for table, _ in filled:
                cursor.execute(f"DELETE FROM {table}")
        if large := [table for table, size in filled if size > LARGE]:
            cursor.execute(f"VACUUM {', '.join(large)}")  # or others would read through what is left of the deleted


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
