"""What drivers stand on: their keeper, the clock, the worker around them, and nothing locked meanwhile."""

import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from agents.models import Run, User, Worker
from agents.runs import hotpath, interventions, lease, runner, starting
from agents.runs import keeper as keepers
from agents.runs.keeper import RENEW_SECONDS, keeper, publish_cancel
from agents.tools.catalogue import tool
from agents.tools.context import Touched
from tests import fleet as fleets

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = float(hotpath.LEASE_SECONDS)


@pytest.fixture
def pipeline(olga: User) -> Callable[..., Run]:
    """Queue a run of a scripted pipeline and give it back."""

    def pipeline(*stages: tuple[str, dict[str, Any]]) -> Run:
        clerk, release = fleets.pipeline("clerk", *stages)
        return starting.start(clerk, objective="Do the work.", by=olga, release=release, queue="tool")

    return pipeline


def look_up(order: str) -> list[Touched]:
    """What a company's own tool may do to name a record: ask elsewhere, on a connection of its own."""
    locked.append(hotpath.rows("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'", {}))
    return [Touched("order", order)]


locked: list[Any] = []


@tool("test.ship", tier=1, writes=True, touches=look_up)
def ship(order: str) -> None:
    """Send a parcel."""


def test_a_web_server_whose_clock_is_fast_takes_no_run_from_its_driver(pipeline, olga, monkeypatch):
    run = pipeline(("test.echo", {"text": "x"}))
    claim = lease.take(run.pk)
    run.refresh_from_db()
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(minutes=2))
    control = interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    assert (control.obeyed_at, interventions.draining(run.agent)) == (None, 1)
    runner.drive_claimed(claim)
    run.refresh_from_db()
    assert run.state == "paused"


def test_no_transaction_is_open_while_a_tool_looks_up_what_it_will_touch(pipeline):
    locked.clear()
    run = pipeline(("test.ship", {"order": "4711"}))
    runner.drive(run.pk)
    run.refresh_from_db()
    assert (run.state, run.touches.get().record, locked) == ("completed", "4711", [[(0,)]])


def test_a_call_that_cannot_be_aborted_does_not_end_the_keeper(pipeline):
    run = pipeline(("test.echo", {"text": "x"}))
    claim = lease.take(run.pk)

    def burst() -> None:
        raise RuntimeError("the loop is closed")

    with keeper().keeping(run.pk, claim.token, lambda: 0) as cancellation, cancellation.aborting(burst):
        fleets.until(lambda: publish_cancel(run.pk) or cancellation.wait(0.2), "that a cancel is heard")
        Run.objects.filter(pk=run.pk).update(lease_until=timezone.now())
        fleets.until(lambda: Run.objects.get(pk=run.pk).lease_until > timezone.now(), "that it is renewed")


def test_a_run_that_somebody_keeps_locked_does_not_cost_its_neighbours_their_leases(pipeline):
    locked, other = pipeline(("test.echo", {"text": "x"})), pipeline(("test.echo", {"text": "x"}))
    claims = [lease.take(locked.pk), lease.take(other.pk)]
    one, two = (keeper().keeping(claim.run_id, claim.token, lambda: 0) for claim in claims)
    with hotpath.raw() as conn, conn.transaction(), one as first, two as second:
        conn.execute("SELECT 1 FROM agents_run WHERE id = %s FOR UPDATE", [locked.pk])
        before = Run.objects.get(pk=other.pk).lease_until
        fleets.until(lambda: Run.objects.get(pk=other.pk).lease_until > before, "that it is renewed", seconds=LEASE)
        assert not first.is_set
        assert not second.is_set


def test_a_keeper_that_is_ended_does_not_sit_its_round_out(monkeypatch):
    monkeypatch.setattr(keepers.serving, "queues", "model")
    keepers.close()
    keeper()
    fleets.until(Worker.objects.exists, "its first sign of life")
    begun = time.monotonic()
    keepers.close()
    assert time.monotonic() - begun < RENEW_SECONDS / 2


@pytest.mark.crash
def test_a_forked_worker_asked_to_end_hands_its_runs_back_whole(pipeline, tmp_path):
    fleet = fleets.Fleet(tmp_path)
    try:
        worker = fleet.start("tool")[0]
        run = pipeline(*[("world.post", {"text": f"letter {n}", "seconds": 0.2}) for n in range(150)])
        fleets.until(lambda: fleet.world.count() >= 2, "the first letters")
        worker.signal(signal.SIGTERM)
        fleets.until(lambda: worker.process.poll() is not None, "the end of the worker", seconds=9)
    finally:
        fleet.end()
    run.refresh_from_db()
    assert (run.state, run.lease_holder) == ("queued", "")
    assert set(run.steps.values_list("state", flat=True)) == {"done"}
    assert run.steps.count() == fleet.world.count()
