"""Two drivers on one run: a worker that stands still is taken for dead, and when it wakes it can change nothing."""

import signal
import time
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agents.models import AuditEntry, Run, Step, StepPayload, Touch, User
from finops.models import LedgerEntry
from tests import fleet as fleets
from tests.fleet import Fleet, Member, until

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

RUNS, NOTES = 8, 60
FIRST_S = 1.5  # so long that all runs are begun before one of them ends, on a busy machine too
STAGES = [("world.note", {"text": f"note {number}", "seconds": 0.02 if number else FIRST_S}) for number in range(NOTES)]


def test_a_worker_stopped_for_longer_than_its_lease_changes_nothing_when_it_goes_on(fleet: Fleet, olga: User) -> None:
    clerk = fleets.pipeline("clerk", *STAGES)
    runs = [fleets.start(clerk, f"file {number}", by=olga) for number in range(RUNS)]
    stopped = at_work(fleet)
    stop_inside_a_transaction(stopped)
    fleet.start("model2")
    until(lambda: not Run.objects.live().exists(), "the end of all runs, in other hands")
    assert not Run.objects.filter(lease_token__lt=2).exists(), "every run changed hands, the locked one too"

    before, woken = everything(), timezone.now()
    stopped.signal(signal.SIGCONT)
    until(lambda: has_let_go(stopped, since=woken), "that the old driver notices")
    assert everything() == before
    for run in runs:
        run.refresh_from_db()
        assert (run.state, run.steps_done) == ("completed", NOTES)
        assert list(run.steps.order_by("seq").values_list("seq", "state")) == [(n, "done") for n in range(1, NOTES + 1)]
    assert {act.key for act in fleet.world.acts()} == {f"{run.pk}:{n}" for run in runs for n in range(1, NOTES + 1)}


def at_work(fleet: Fleet) -> Member:
    """A worker that holds all the runs, in the middle of them."""
    fleet.start("tick", "model1")
    worker = fleet.ready().workers()[0]
    until(lambda: len(worker.holds()) == RUNS and fleet.world.count() >= RUNS, "the first notes of all runs")
    return worker


def stop_inside_a_transaction(worker: Member) -> None:
    """Stop it again and again until it is caught between BEGIN and COMMIT, a run's row locked."""
    for _ in range(500):
        worker.signal(signal.SIGSTOP)
        if standing := open_transactions():
            time.sleep(0.1)
            if standing & open_transactions():
                return
        worker.signal(signal.SIGCONT)
        time.sleep(0.003)
    raise AssertionError("It was never caught inside a transaction.")


def open_transactions() -> set[Any]:
    """Transactions that have locked something and whose client says nothing, each by its process and beginning."""
    silent = "state = 'idle in transaction' AND datname = current_database() AND backend_xid IS NOT NULL"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pid, xact_start FROM pg_stat_activity WHERE {silent}")
        return set(cursor.fetchall())


def everything() -> list[Any]:
    """All that drivers store."""
    stored = Run, Step, StepPayload, Touch, LedgerEntry, AuditEntry
    return [list(noun.objects.order_by("pk").values()) for noun in stored]


def has_let_go(worker: Member, *, since: Any) -> bool:
    """Whether it has looked about since then and no thread of it drives a run any more."""
    sign = worker.sign()
    return sign is not None and sign.seen_at > since and sign.driving == 0
