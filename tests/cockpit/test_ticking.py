"""The clock tells how it does: each job when, how late, how long, and how often it failed."""

import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import TickJob, Worker
from cockpit.ticking import Done, Job, show_life, tick

pytestmark = pytest.mark.django_db(transaction=True)


def tick_until(condition, *jobs: Job) -> None:
    stopping = threading.Event()
    clock = threading.Thread(target=tick, args=(stopping, jobs))
    clock.start()
    deadline = time.monotonic() + 15
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    stopping.set()
    clock.join()
    assert condition()


def test_every_job_is_noted_with_what_it_took_and_how_late_it_was():
    done = []

    def slow() -> int:
        time.sleep(0.6)
        return done.append("slow") or 1

    tick_until(lambda: len(done) > 2, Job("slow", 0.5, slow), Job("quick", 0.1, lambda: 1))
    slow_job, quick = TickJob.objects.get(name="slow"), TickJob.objects.get(name="quick")
    assert slow_job.took_s == pytest.approx(0.6, abs=0.3)
    assert quick.took_s < 0.3
    assert quick.late_s >= 0.3, "it comes after the slow one"
    assert timezone.now() - quick.ran_at < timedelta(seconds=5)
    assert slow_job.failures == quick.failures == 0
    assert Worker.objects.get(kind="tick").kind == Worker.Kind.TICK


def test_a_job_that_fails_is_counted_and_the_others_go_on():
    worked = []

    def fail() -> int:
        raise RuntimeError("not today")

    tick_until(lambda: len(worked) > 2, Job("fails", 0.1, fail), Job("works", 0.1, lambda: worked.append(1) or 1))
    assert TickJob.objects.get(name="fails").failures >= 2
    assert TickJob.objects.get(name="works").failures == 0


def test_failures_only_add_up():
    for failures in (2, 0, 1):
        show_life("tick:here:1", {"sweep": Done(0.1, 0.2, failures)})
    assert TickJob.objects.get().failures == 3
