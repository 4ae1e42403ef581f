"""A fleet of real processes for each test, on the tests' own database and Redis, killed before tables are emptied."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from tests.fleet import Fleet


@pytest.fixture
def letters(transactional_db: None) -> redis.Redis:
    """The post box of the courier, empty: other tests have left messages about runs that are gone."""
    box = redis.Redis.from_url(settings.REDIS_URL)
    box.flushdb()
    return box


@pytest.fixture
def fleet(letters: redis.Redis, tmp_path: Path) -> Iterator[Fleet]:
    """Nothing runs yet; what a test starts is ended behind it."""
    made = Fleet(tmp_path)
    try:
        yield made
    finally:
        made.end()
        letters.close()
        print(made.said()[-20_000:])  # shown where a test fails
