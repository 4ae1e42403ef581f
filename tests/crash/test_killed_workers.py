"""`kill -9` of workers amid two hundred runs: nothing is lost, nothing happens twice, every sum is right."""

from collections import Counter, defaultdict

import pytest
from django.db.models import Sum
from uuid_utils.compat import uuid7

from agents.models import Run, Step, User
from approvals.decisions import decide
from approvals.models import Approval
from finops.models import LedgerEntry
from tests import fleet as fleets
from tests.fleet import Fleet, Member, until

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

STAGES = [
    ("world.note", {"text": "{objective}: begun", "seconds": 0.1}),
    ("world.look", {"text": "{objective}", "seconds": 0.05}),
    ("world.post", {"text": "{objective}: posted", "seconds": 0.1}),
    ("world.note", {"text": "{steps.1.text}: ended", "seconds": 0.1}),
]
SIMULATED = {
    "latency_ms": [30, 90],
    "plays": [
        {
            "steps": [
                {"tool": "world.note", "arguments": {"text": "{objective}: begun", "seconds": 0.1}},
                {"tool": "world.note", "arguments": {"text": "{objective}: ended", "seconds": 0.1}},
                {"say": "Done."},
            ]
        }
    ],
}
SCRIPTED, ASKING = 120, 80
ACTS = SCRIPTED * 3 + ASKING * 2


@pytest.fixture
def two_hundred(olga: User) -> list[Run]:
    """Runs of a scripted pipeline and of an agent that asks a model for its every step."""
    clerk = fleets.pipeline("clerk", *STAGES)
    writer = fleets.agent("writer", tools=["world.note"], simulated=SIMULATED, limits={})
    return [
        *(fleets.start(clerk, f"file {number}", by=olga) for number in range(SCRIPTED)),
        *(fleets.start(writer, f"story {number}", by=olga) for number in range(ASKING)),
    ]


def test_two_workers_are_killed_amid_two_hundred_runs(fleet: Fleet, two_hundred: list[Run], rhea: User) -> None:
    fleet.start("tick", "model1", "model2")
    fleet.ready()
    until(lambda: fleet.world.count() >= ACTS * 0.15, "a seventh of the work")
    in_flight = kill_the_busiest(fleet)
    until(lambda: fleet.world.count() >= ACTS * 0.5, "half of the work")
    in_flight += kill_the_busiest(fleet)
    until(lambda: all_ended(fleet, rhea), "the end of all runs", every=0.2)

    assert Counter(Run.objects.values_list("state", "failure")) == {("completed", ""): len(two_hundred)}
    assert [run for run in two_hundred if not is_whole(run)] == []
    keys = keys_of_acts(fleet)
    assert len(keys) == ACTS, "no act is missing and none is new"
    assert {act: asked for act, asked in keys.items() if len(asked) > 1} == {}, "every act has one key"
    repeated = {key: times for key, times in Counter(act.key for act in fleet.world.acts()).items() if times > 1}
    assert 0 < Step.objects.filter(attempt__gt=1).count() <= in_flight, "only what was in flight is attempted again"
    attempts = dict(Step.objects.filter(idempotency_key__in=repeated).values_list("idempotency_key", "attempt"))
    assert all(times <= attempts[key] for key, times in repeated.items()), "and every time as an attempt of its step"
    assert not Step.objects.filter(idempotency_key__in=repeated, name="world.post").exists(), "no letter went out twice"


def kill_the_busiest(fleet: Fleet) -> int:
    """`kill -9` a worker in the middle of its runs and start another in its place; how many runs it held."""
    until(lambda: any(member.holds() for member in fleet.workers()), "a worker that has runs")
    victim: Member = max(fleet.workers(), key=lambda member: len(member.holds()))
    victim.kill()
    held = len(victim.holds())
    assert held, "it was to die at work"
    fleet.start(victim.name)
    return held


def all_ended(fleet: Fleet, reviewer: User) -> bool:
    """Whether all runs have; meanwhile somebody looks up what became of the letters in doubt."""
    for question in Approval.objects.filter(kind=Approval.Kind.IN_DOUBT).open():
        key = f"{question.run_id}:{question.seq}"
        happened = [act.text for act in fleet.world.acts() if act.key == key]
        answer = {"answer": "outcome", "outcome": {"text": happened[0]}} if happened else {"answer": "absent"}
        decide(question, reason="I asked the post office.", by=reviewer, request_id=uuid7(), **answer)
    return not Run.objects.live().exists()


def is_whole(run: Run) -> bool:
    """Whether every step is there, done exactly once, and the run's sums are those of its steps and of the ledger."""
    run.refresh_from_db()
    steps = list(run.steps.order_by("seq").values_list("seq", "state"))
    stages = len(STAGES) if run.release.program == "pipeline" else 5
    of = LedgerEntry.objects.filter(run=run)
    billed = of.aggregate(into=Sum("tokens_in"), out=Sum("tokens_out"), paid=Sum("amount"))
    return (
        steps == [(seq, "done") for seq in range(1, stages + 1)]
        and (run.steps_done, run.payloads.exclude(output=None).count()) == (stages, stages)
        and (run.tokens_in, run.tokens_out, run.cost) == (billed["into"] or 0, billed["out"] or 0, billed["paid"] or 0)
        and of.values("seq").distinct().count() == run.steps.filter(kind=Step.Kind.MODEL).count()
    )


def keys_of_acts(fleet: Fleet) -> dict[tuple[str, str], set[str]]:
    """For every act that was to happen once, the keys under which it was asked for."""
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for act in fleet.world.acts():
        keys[act.run, act.text].add(act.key)
    return keys
