"""The clock tells how it does: each job when, how late, how long, and how often it failed."""

import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import Team, TickJob, User, Worker
from approvals.models import Escalation
from cockpit.ticking import JOBS, Done, Job, show_life, tick
from tests.approvals import clockwork, questions

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
        show_life({"sweep": Done(0.1, 0.2, failures)})
    assert TickJob.objects.get().failures == 3


def test_however_slow_another_job_is_escalation_is_not_late_and_happens_once(
    team: Team, rhea: User, olga: User
) -> None:
    clockwork.policy(team)
    asked = questions.held()
    clockwork.let_pass(asked, 10 - 1.5 / 60)  # of ten minutes
    stopping = threading.Event()
    jobs = Job("slow", 0.1, lambda: stopping.wait(6) or 1), *(job for job in JOBS if job.name == "escalations")
    ticks = [threading.Thread(target=tick, args=(stopping, jobs)) for _ in range(2)]
    for one in ticks:
        one.start()
    deadline = time.monotonic() + 15
    while not Escalation.objects.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    stopping.set()
    for one in ticks:
        one.join()
    kept = Escalation.objects.get()
    assert timedelta() <= kept.at - kept.due_at <= timedelta(seconds=1)


def test_told_to_stop_it_ends_what_is_under_way_in_any_thread_and_says_so():
    stopping, ended = threading.Event(), []

    def careful() -> int:
        stopping.set()
        time.sleep(0.3)
        ended.append(threading.current_thread().name)
        return 1

    tick(stopping, [Job("careful", 0.1, careful, alone=True), Job("other", 9.0, lambda: 1)])
    assert ended == ["careful"]
    assert TickJob.objects.get(name="careful").took_s >= 0.3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_ends_the_tick() -> None:
    def fatal() -> int:
        raise SystemExit

    stopping = threading.Event()
    tick(stopping, [Job("fatal", 0.1, fatal, alone=True), Job("other", 0.1, lambda: 1)])
    assert stopping.is_set(), "whoever started it starts another one"
