"""Redis may lose every message, or be away: what was rung in vain is rung again, and nobody rings for the deaf."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.db.models.functions import Now

from agents.models import Run, User
from agents.runs import recovery
from cockpit.servers import free_port
from tests import factories
from tests.fleet import database_url

START = """
import sys, django
django.setup()
from agents.models import Agent, User
from agents.runs import starting
from django.db import transaction
agent, olga = Agent.objects.get(slug="clerk"), User.objects.get(username="olga")
starting.start(agent, objective="within a request", by=olga)
with transaction.atomic():
    starting.start(agent, objective="within a transaction", by=olga)
"""

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def letters() -> Iterator[redis.Redis]:
    """The post box of the courier, which has already been looked into."""
    box = redis.Redis.from_url(settings.REDIS_URL)
    box.flushdb()
    recovery.ring_again()
    yield box
    box.close()


@pytest.fixture
def queued(letters: redis.Redis, olga: User) -> list[Run]:
    """Runs that have waited long for a worker: the next ring is minutes away."""
    runs = [factories.run(factories.agent(), by=olga) for _ in range(3)]
    Run.objects.update(rings=6, rung_at=Now())
    assert letters.llen("model") == 3
    return runs


def test_lost_messages_are_rung_again_at_once_however_often_it_had_rung_before(letters, queued):
    assert recovery.ring_again() == 0
    letters.flushall()
    assert recovery.sweep() == 0, "its patience alone would take minutes"
    assert recovery.ring_again() == len(queued)
    assert letters.llen("model") == len(queued)
    assert recovery.ring_again() == 0, "once for each loss"


def test_behind_a_long_queue_nobody_is_rung_for_again_before_a_minute_has_passed(letters, queued):
    Run.objects.update(rings=0, rung_at=Now() - timedelta(seconds=50), changed_at=Now() - timedelta(seconds=99))
    assert recovery.sweep() == 0, "their messages are still there"
    Run.objects.update(rung_at=Now() - timedelta(seconds=70))
    assert recovery.sweep() == len(queued), "one of them may have been lost by itself"
    Run.objects.update(rings=0, rung_at=Now() - timedelta(seconds=5))
    letters.delete("model")
    assert recovery.sweep() == len(queued), "nothing is there"


def test_while_nobody_hears_nothing_is_rung_and_no_patience_grows(settings, letters, queued):
    Run.objects.update(rings=0, rung_at=None, changed_at="2026-01-01T00:00:00Z")
    there, settings.REDIS_URL = settings.REDIS_URL, f"redis://127.0.0.1:{free_port()}/0"
    assert (recovery.sweep(), recovery.ring_again()) == (0, 0)
    assert set(Run.objects.values_list("rings", "rung_at")) == {(0, None)}
    settings.REDIS_URL = there
    assert recovery.sweep() == len(queued)


def test_a_run_is_started_though_nobody_can_be_told(olga: User):
    factories.agent("clerk")
    nowhere = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "DATABASE_URL": database_url()}
    subprocess.run([sys.executable, "-c", START], env=os.environ | nowhere, check=True, timeout=60)
    assert set(Run.objects.values_list("objective", "state")) == {
        ("within a request", "queued"),
        ("within a transaction", "queued"),
    }
