"""`kill -9` of the worker that gives one answer to hundreds of requests, in the middle of a transaction of it."""

import os
import signal
import time
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import AuditEntry, Run, Step, User
from approvals.bulk import jobs
from approvals.bulk.choosing import Choice
from approvals.bulk.models import BulkDecision
from approvals.models import Approval, Decision
from approvals.queue import Filters
from tests import fleet as fleets
from tests.fleet import Fleet, Member, until

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

RUNS, EACH = 11, 40  # a driver makes way for others after 50 steps
ASKED = RUNS * EACH
PAYS = [{"tool": "world.pay", "arguments": {"text": f"{{objective}}: bill {number}"}} for number in range(EACH)]
PAYER = {"latency_ms": [1, 5], "plays": [{"steps": [{"calls": PAYS}, {"say": "All are paid."}]}]}


def test_a_worker_killed_amid_a_bulk_decision_leaves_none_undecided_and_decides_none_twice(
    fleet: Fleet, olga: User, rhea: User
) -> None:
    payer = fleets.agent("payer", tools=["world.pay"], simulated=PAYER, limits={})
    runs = [fleets.start(payer, f"file {number}", by=olga) for number in range(RUNS)]
    fleet.start("tick", "model1", "tool")
    until(lambda: Run.objects.filter(state="waiting").count() == RUNS, "that all wait for people")
    assert Approval.objects.filter(state="open").count() == ASKED
    before = tokens(runs)

    job = ask_for_all(rhea)
    kill_inside_a_transaction(worker_of_bulk(fleet), job)
    after = Counter(Approval.objects.values_list("state", flat=True))
    assert 0 < after["open"] < ASKED, "it was to die on its way"
    assert job_now(job).decided == after["approved"] == Decision.objects.count()
    fleet.start("tool")
    BulkDecision.objects.update(lease_until=timezone.now())  # which it would be in 15 s
    until(lambda: job_now(job).has_ended, "the end of the job")
    until(lambda: not Run.objects.live().exists(), "the end of all runs")

    assert job_now(job).summary == f"Approved {ASKED} of {ASKED}."
    assert Decision.objects.values("approval").distinct().count() == Decision.objects.count() == ASKED
    told = AuditEntry.objects.values_list("verb").annotate(number=Count("id"))
    assert dict(told.filter(verb__startswith="approval.")) == {
        "approval.requested": ASKED, "approval.bulk_asked": 1, "approval.decided": ASKED, "approval.bulk_ended": 1,
    }  # fmt: skip
    handed = {token - before[pk] for pk, token in tokens(runs).items()}
    assert handed == {3}, "each run was woken once, taken up once and ended once"
    assert Counter(Run.objects.values_list("state", "steps_done")) == {("completed", EACH + 2): RUNS}
    paid = Counter(act.key for act in fleet.world.acts())
    assert paid == dict.fromkeys((f"{run.pk}:{seq}" for run in runs for seq in range(2, EACH + 2)), 1)
    assert not Step.objects.filter(attempt__gt=1).exists()


def ask_for_all(by: User) -> BulkDecision:
    """One answer to everything that waits: more than one chunk of it, so a worker's work."""
    everything = Choice(filters=Filters(), until=timezone.now())
    return jobs.start(everything, answer="approve", reason="The month's bills.", by=by, request_id=uuid7())


def worker_of_bulk(fleet: Fleet) -> Member:
    return next(member for member in fleet.living() if member.name == "tool")


def kill_inside_a_transaction(worker: Member, job: BulkDecision) -> None:
    """Stop all its processes again and again until one is caught with decisions that it has not committed, after those
    that it has; and kill them there."""
    until(lambda: job_now(job).decided, "the first chunk", every=0.005)
    for _ in range(500):
        os.killpg(worker.pid, signal.SIGSTOP)
        if holding_locks():
            break
        os.killpg(worker.pid, signal.SIGCONT)
        time.sleep(0.005)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.process.wait()
    until(lambda: not holding_locks(), "that PostgreSQL notices")


def holding_locks() -> bool:
    """Whether somebody has written and not committed, and says nothing."""
    written = "state = 'idle in transaction' AND datname = current_database() AND backend_xid IS NOT NULL"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {written}")
        return bool(cursor.fetchone()[0])


def job_now(job: BulkDecision) -> BulkDecision:
    job.refresh_from_db()
    return job


def tokens(runs: list[Run]) -> dict[Any, int]:
    """How often each run has changed hands."""
    return dict(Run.objects.filter(pk__in=[run.pk for run in runs]).values_list("pk", "lease_token"))
