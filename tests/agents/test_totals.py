"""What the rollup adds up for ever: each thing once, and never less than before."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from agents.models import RUN_BOUNDS, AgentMinute, Run, RunTotal, Step, StepTotal
from agents.runs import rollups
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def ended(run: Run, *, seconds: float, state: str = "done", **fields: object) -> Step:
    now = timezone.now()
    return factories.step(run, state=state, started_at=now - timedelta(seconds=seconds), finished_at=now, **fields)


def asked(run: Run, **fields: object) -> Step:
    told = {"tokens_in": 100, "tokens_out": 20, "cost": Decimal("0.25"), "cost_kind": "priced"}
    return ended(run, seconds=1.5, **{"kind": "model", "provider": "local", "model": "llama", **told, **fields})


def counts() -> dict[tuple[str, str, str], int]:
    rows = StepTotal.objects.values_list("kind", "state", "error_class", "count")
    return {(kind, state, error): count for kind, state, error, count in rows}


def test_steps_are_counted_once_by_kind_state_and_error(run):
    asked(run)
    ended(run, seconds=0.2)
    ended(run, seconds=0.2, state="failed", error_class="Timeout")
    factories.step(run, state="intended")  # nobody knows how it ends
    rollups.roll_up()
    rollups.roll_up()
    once = {("model", "done", ""): 1, ("tool", "done", ""): 1, ("tool", "failed", "Timeout"): 1}
    assert counts() == once
    ended(run, seconds=0.2)
    rollups.roll_up()
    assert counts() == once | {("tool", "done", ""): 2}
    assert sum(AgentMinute.objects.values_list("steps", flat=True)) == 4


def test_tokens_and_money_are_kept_by_model(run):
    asked(run)
    asked(run, tokens_in=5, tokens_out=None, cost=None, cost_kind="unpriced")
    asked(run, model="other")
    rollups.roll_up()
    total = StepTotal.objects.get(model="llama")
    assert (total.tokens_in, total.tokens_out, total.cost, total.unpriced) == (105, 20, Decimal("0.25"), 1)
    assert StepTotal.objects.get(model="other").tokens_in == 100


def test_how_long_things_took_is_kept_in_buckets_that_add_up(run):
    for seconds in (0.01, 1.5, 1.5, 4000):
        ended(run, seconds=seconds)
    rollups.roll_up()
    total = StepTotal.objects.get()
    filled = {place: count for place, count in enumerate(total.seconds) if count}
    assert filled == {0: 1, RUN_BOUNDS.index(2): 2, len(RUN_BOUNDS): 1}
    assert total.seconds_sum == pytest.approx(4003.01)


def test_runs_are_counted_by_how_they_ended(agent, olga):
    for state, why in (("completed", ""), ("failed", "limit"), ("failed", "limit"), ("cancelled", "")):
        run = factories.run(agent, by=olga)
        run.move(to=state if state != "completed" else "running")
        if state == "completed":
            run.move(to=state)
        Run.objects.filter(pk=run.pk).update(failure_class=why)
    factories.run(agent, by=olga)
    rollups.roll_up()
    found = {(one.state, one.failure_class): one.count for one in RunTotal.objects.all()}
    assert found == {("completed", ""): 1, ("failed", "limit"): 2, ("cancelled", ""): 1}


def test_what_is_deleted_stays_counted(run):
    ended(run, seconds=1)
    rollups.roll_up()
    Step.objects.all().delete()
    AgentMinute.objects.all().delete()
    rollups.roll_up()
    assert counts() == {("tool", "done", ""): 1}
