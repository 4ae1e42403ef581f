"""Where benchmarks of a whole fleet play: real workers and a real tick, two people, nothing left from earlier ones."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from django.conf import settings
from django.utils import timezone

from agents.models import Role, Run, User
from tests import factories
from tests.fleet import Fleet

MOST_S = 60.0


@dataclass(frozen=True)
class Stage:
    """A fleet at work, somebody who operates it and somebody who decides."""

    fleet: Fleet
    olga: User
    rhea: User


@contextmanager
def stage(*names: str, threads: int = 0, **environ: str) -> Iterator[Stage]:
    """Start the processes of these names (as `manage.py up` calls them), and end them and what they drove."""
    folder = Path(tempfile.mkdtemp(prefix="cockpit-stage-"))
    with redis.Redis.from_url(settings.REDIS_URL) as box:
        box.flushdb()
    fleet = Fleet(folder, threads=threads, **environ)
    try:
        fleet.start(*names)
        people = [_person(name, role) for name, role in (("olga", Role.OPERATOR), ("rhea", Role.REVIEWER))]
        fleet.ready()
        yield Stage(fleet, *people)
    except AssertionError:
        print(fleet.said()[-5000:])
        raise
    finally:
        fleet.end()
        # Nobody is left who would say it: the next benchmark's workers must not find these.
        ended = {"state": Run.State.CANCELLED, "finished_at": timezone.now(), "lease_until": None}
        Run.objects.live().update(**ended)
        shutil.rmtree(folder, ignore_errors=True)


def _person(name: str, role: str) -> User:
    return User.objects.filter(username=name).first() or factories.person(name, role, of=factories.team())


def moment(condition: Callable[[], object], what: str, *, seconds: float = MOST_S, every: float = 0.002) -> float:
    """When something came to be, on the monotonic clock, to within two milliseconds and the look itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Not within {seconds:.0f} s: {what}."
        time.sleep(every)
    return time.monotonic()
