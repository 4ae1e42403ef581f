"""How runs live: driven step by step through the real runner, gates on, on a real database."""

import threading
import time
from typing import Any
from uuid import uuid4

import pytest

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import Answer
from agents.models import Agent, AuditEntry, Release, Run, Step, Touch, Worker
from agents.runs import (
    ending,
    holds,
    hotpath,
    interventions,
    lease,
    planning,
    recovery,
    rollups,
    runner,
    starting,
    steps,
)
from agents.runs.keeper import RENEW_SECONDS, keeper, serving
from approvals.decisions import decide
from approvals.models import Approval
from finops.models import LedgerEntry
from tests import toolbox

pytestmark = pytest.mark.django_db(transaction=True)

TOOLS = ["test.echo", "test.slow", "test.broken", "test.refund", "test.note", "test.post", "test.letter", "test.garble"]


@pytest.fixture
def pipeline(team: Any, olga: Any):
    """Queue a run of a scripted pipeline and give it back."""

    def start(*stages: tuple[str, dict[str, Any]], on_error: str = "stop", **bundle: Any) -> Run:
        agent, _ = Agent.objects.get_or_create(slug="clerk", defaults={"name": "Clerk", "team": team})
        listed = [{"tool": tool, "arguments": arguments, "on_error": on_error} for tool, arguments in stages]
        content = {"program": "pipeline", "tools": TOOLS, "pipeline": listed, **bundle}
        version = uuid4().hex[:8]
        release = Release.objects.create(
            agent=agent, version=version, digest=version, program="pipeline", bundle=content
        )
        return starting.start(agent, objective="Do the work.", by=olga, release=release)

    toolbox.effects.clear()
    return start


def steps_of(run: Run) -> list[tuple[int, str, str]]:
    return list(run.steps.order_by("seq").values_list("seq", "name", "state"))


def drive(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def answer(run: Run, seq: int, kind: str, **more: Any) -> None:
    holds.answer(run.pk, seq, answer=Answer(kind, None, "rhea", **more))


def test_a_pipeline_runs_to_its_end_and_every_step_is_a_checkpoint(pipeline):
    run = drive(pipeline(("test.echo", {"text": "one"}), ("test.echo", {"text": "{steps.0.text} two"})))
    assert (run.state, run.result, run.steps_done) == ("completed", {"text": "one two"}, 2)
    assert steps_of(run) == [(1, "test.echo", "done"), (2, "test.echo", "done")]
    assert run.payloads.get(seq=2).input == {"arguments": {"text": "one two"}}


def test_a_failing_tool_is_data_and_a_stage_that_must_not_fail_ends_the_run(pipeline):
    run = drive(pipeline(("test.broken", {"reason": "no van"}), ("test.echo", {"text": "never"})))
    assert (run.state, run.failure_class) == ("failed", "step_failed")
    assert "no van" in run.failure
    assert steps_of(run) == [(1, "test.broken", "failed")]
    going_on = drive(pipeline(("test.broken", {}), ("test.echo", {"text": "anyway"}), on_error="continue"))
    assert (going_on.state, going_on.result) == ("completed", {"text": "anyway"})


def test_arguments_that_do_not_fit_never_reach_a_gate_or_the_tool(pipeline):
    run = drive(pipeline(("test.refund", {"order": "4711", "amount": "a lot"})))
    step = run.steps.get(seq=1)
    assert (step.state, step.error_class, step.answer) == ("failed", "invalid_arguments", None)
    assert "amount" in step.error
    assert toolbox.effects == []


def test_a_tool_that_the_release_does_not_name_is_refused(pipeline):
    run = drive(pipeline(("test.echo", {"text": "x"}), tools=["test.slow"]))
    assert run.steps.get(seq=1).state == "refused"
    assert "test.slow" in run.steps.get(seq=1).error


def test_a_tier_three_act_waits_for_a_person_without_anything_held(pipeline):
    run = drive(pipeline(("test.refund", {"order": "4711", "amount": "184.00"}), ("test.echo", {"text": "paid"})))
    assert (run.state, run.waiting_for, run.lease_until) == ("waiting", "approval", None)
    step = run.steps.get(seq=1)
    assert (step.state, step.says) == ("held", "Refund €184.00 for order 4711")
    assert toolbox.effects == []
    assert not Touch.objects.filter(run=run).exists()


def test_a_rejected_act_is_refused_with_who_and_why_and_never_done(pipeline):
    run = drive(pipeline(("test.refund", {"order": "4711", "amount": "184.00"})))
    answer(run, 1, "rejected", reason="not damaged")
    run = drive(run)
    step = run.steps.get(seq=1)
    assert step.state == "refused"
    assert "rhea" in step.gate_reason
    assert "not damaged" in step.gate_reason
    assert toolbox.effects == []


def test_a_tool_may_have_a_threshold_of_its_own(pipeline):
    stages = ("test.post", {"text": "one"}), ("test.note", {"text": "two"})
    run = drive(pipeline(*stages, thresholds={"test.note": 0.9}))
    assert (run.state, steps_of(run)) == ("waiting", [(1, "test.post", "done"), (2, "test.note", "held")])
    assert drive(pipeline(*stages, thresholds={"confidence": 0.9})).steps.get().state == "held"


def test_a_manual_act_is_done_by_the_person_who_posts_its_outcome(pipeline):
    run = drive(pipeline(("test.letter", {"text": "Dear café"}), ("test.echo", {"text": "{steps.0.tracking}"})))
    answer(run, 1, "outcome", outcome={"tracking": "RR 1"})
    run = drive(run)
    assert (run.state, run.result) == ("completed", {"text": "RR 1"})


def test_a_paused_run_keeps_a_decision_until_it_is_resumed(pipeline, olga):
    run = drive(pipeline(("test.refund", {"order": "4711", "amount": "184.00"})))
    interventions.pause(run, by=olga, reason="lunch", request_id=uuid4())
    assert run.state == "paused"
    answer(run, 1, "rejected", reason="no")
    run.refresh_from_db()
    assert run.state == "paused"
    interventions.resume(run, by=olga, request_id=uuid4())
    assert drive(run).steps.get(seq=1).state == "refused"


def test_pausing_what_another_operator_has_cancelled_changes_nothing(pipeline, olga):
    run = pipeline(("test.echo", {"text": "x"}))
    twin = Run.objects.get(pk=run.pk)
    interventions.cancel(run, by=olga, reason="noisy", request_id=uuid4())
    with pytest.raises(errors.Conflict, match="can no longer be paused"):
        interventions.pause(twin, by=olga, reason="also noisy", request_id=uuid4())
    assert drive(run).state == "cancelled"
    told = AuditEntry.objects.filter(subject_kind="run").order_by("id")
    assert [entry.verb for entry in told] == ["run.started", "run.cancel"]


def test_asking_twice_with_one_request_id_is_one_act(pipeline, olga):
    run, request_id = pipeline(("test.echo", {"text": "x"})), uuid4()
    first = interventions.pause(run, by=olga, reason="a moment", request_id=request_id)
    assert interventions.pause(run, by=olga, reason="a moment", request_id=request_id) == first
    assert AuditEntry.objects.filter(verb="run.pause").count() == 1
    with pytest.raises(errors.Conflict, match="used for something else"):
        interventions.cancel(run, by=olga, reason="a moment", request_id=request_id)


def in_background(run: Run) -> threading.Thread:
    thread = threading.Thread(target=runner.drive, args=(run.pk,))
    thread.start()
    return thread


def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_driven_run_pauses_before_its_next_step_and_goes_on_where_it_was(pipeline, olga):
    stages = [("test.slow", {"seconds": 0.4})] * 3
    run = pipeline(*stages)
    thread = in_background(run)
    until(lambda: Run.objects.get(pk=run.pk).state == "running")
    run.refresh_from_db()
    control = interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    assert control.obeyed_at is None
    thread.join(5)
    run.refresh_from_db()
    control.refresh_from_db()
    assert (run.state, run.steps_done) == ("paused", 1)
    assert control.obeyed_at is not None
    interventions.resume(run, by=olga, request_id=uuid4())
    assert (drive(run).state, run.steps_done) == ("completed", 3)


def test_cancel_aborts_what_is_in_flight(pipeline, olga):
    run = pipeline(("test.slow", {"seconds": 20}))
    thread = in_background(run)
    until(lambda: Run.objects.get(pk=run.pk).state == "running")
    run.refresh_from_db()
    time.sleep(0.3)
    started = time.monotonic()
    interventions.cancel(run, by=olga, reason="wrong customer", request_id=uuid4())
    thread.join(5)
    assert time.monotonic() - started < 1
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_a_frozen_agent_starts_no_step_and_a_thaw_has_nothing_to_restore(pipeline, olga):
    run = pipeline(("test.echo", {"text": "x"}))
    interventions.freeze(run.agent, by=olga, reason="odd refunds", request_id=uuid4())
    assert (drive(run).state, run.steps_done) == ("queued", 0)
    assert recovery.sweep(patience=0) == 0
    interventions.thaw(run.agent, by=olga, request_id=uuid4())
    assert drive(run).state == "completed"


def test_freezing_under_way_lets_the_step_end_and_leaves_the_state_alone(pipeline, olga):
    run = pipeline(("test.slow", {"seconds": 0.4}), ("test.echo", {"text": "x"}))
    thread = in_background(run)
    until(lambda: Run.objects.get(pk=run.pk).state == "running")
    interventions.freeze(run.agent, by=olga, reason="odd", request_id=uuid4())
    assert interventions.draining(run.agent) == 1
    thread.join(5)
    run.refresh_from_db()
    assert (run.state, run.steps_done, interventions.draining(run.agent)) == ("running", 1, 0)
    interventions.thaw(run.agent, by=olga, request_id=uuid4())
    assert drive(run).state == "completed"
    assert run.deaths == 0


def test_two_drivers_on_one_run_the_fenced_one_changes_nothing(pipeline):
    run = pipeline(("test.echo", {"text": "x"}))
    stale = lease.take(run.pk)
    assert lease.take(run.pk) is None, "a live lease is not taken over"
    Run.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00:00Z")
    assert drive(run).state == "completed"
    before = steps_of(run)
    with pytest.raises(errors.Fenced):
        ending.end(stale, "failed", failure="I was presumed dead")
    run.refresh_from_db()
    assert (run.state, steps_of(run)) == ("completed", before)


def die_after_intent(run: Run) -> None:
    """What a killed worker leaves: an intent without an outcome, and a lease that ran out."""
    Run.objects.filter(pk=run.pk).update(state="running", lease_token=1, lease_until="2020-01-01T00:00:00Z")
    Step.objects.filter(run=run, seq=1).update(state="intended", finished_at=None)


def test_after_a_crash_an_idempotent_act_is_repeated_with_the_same_key(pipeline):
    run = pipeline(("test.note", {"text": "hello"}))
    drive(run)
    Run.objects.filter(pk=run.pk).update(finished_at=None, state="running", result=None)
    die_after_intent(run)
    assert drive(run).state == "completed"
    assert toolbox.effects == [("note", f"{run.pk}:1")] * 2
    assert run.steps.get(seq=1).attempt == 2


@pytest.mark.parametrize(
    ("kind", "more", "state", "effects"),
    [("outcome", {"outcome": {"posted": "yes"}}, "completed", 1), ("absent", {}, "completed", 2)],
)
def test_after_a_crash_an_act_without_a_key_is_in_doubt_until_a_person_says(pipeline, rhea, kind, more, state, effects):
    run = pipeline(("test.post", {"text": "hello"}))
    drive(run)
    Run.objects.filter(pk=run.pk).update(finished_at=None, state="running", result=None)
    die_after_intent(run)
    assert (drive(run).state, run.waiting_for) == ("waiting", "a person to say what happened")
    assert run.steps.get(seq=1).state == "in_doubt"
    assert len(toolbox.effects) == 1
    decide(Approval.objects.get(run=run), answer=kind, reason="I looked", by=rhea, request_id=uuid4(), **more)
    assert (drive(run).state, run.failure) == (state, "")
    assert len(toolbox.effects) == effects


@pytest.fixture
def asker(team, olga):
    """A run of the tool loop on the simulated model, ended after one answer."""
    agent = Agent.objects.create(slug="asker", name="Asker", team=team)
    models = [{"provider": "simulated", "model": "sim-small"}]
    bundle = {"program": "llm", "models": models, "tools": [], "simulated": {"latency_ms": [0, 1]}}
    release = Release.objects.create(agent=agent, version="1", digest="asker", program="llm", bundle=bundle)
    return starting.start(agent, objective="Say something.", by=olga, release=release)


def test_a_call_whose_worker_died_is_booked_once_as_estimated(asker):
    claim = lease.take(asker.pk)
    driver = runner.Driver(claim, Cancellation())
    seq, asked = driver.next_turn()
    steps.intend(claim, planning.plan(claim, asked[0], seq=seq, turn=seq))
    Run.objects.filter(pk=asker.pk).update(lease_until="2020-01-01T00:00:00Z")
    second = lease.take(asker.pk)
    runner.Driver(second, Cancellation()).book_lost_calls()  # ... and this one dies as well
    Run.objects.filter(pk=asker.pk).update(lease_until="2020-01-01T00:00:00Z")
    assert drive(asker).state == "completed"
    booked = LedgerEntry.objects.filter(run=asker).order_by("attempt")
    assert [entry.kind for entry in booked] == ["estimated", "priced"]
    assert asker.cost == sum(entry.amount for entry in booked)
    assert asker.steps.get(seq=1).attempt == 2


def test_cancelling_after_a_worker_died_amid_a_call_books_the_call_first(asker, olga):
    claim = lease.take(asker.pk)
    driver = runner.Driver(claim, Cancellation())
    seq, asked = driver.next_turn()
    steps.intend(claim, planning.plan(claim, asked[0], seq=seq, turn=seq))
    Run.objects.filter(pk=asker.pk).update(lease_until="2020-01-01T00:00:00Z")
    asker.refresh_from_db()
    interventions.cancel(asker, by=olga, reason="enough", request_id=uuid4())
    assert drive(asker).state == "cancelled"
    assert [entry.kind for entry in LedgerEntry.objects.filter(run=asker)] == ["estimated"]


def test_a_person_may_stop_a_run_over_a_step_in_doubt(pipeline):
    run = pipeline(("test.post", {"text": "hello"}), ("test.echo", {"text": "never"}))
    drive(run)
    Run.objects.filter(pk=run.pk).update(finished_at=None, state="running", result=None)
    run.steps.filter(seq=2).delete()
    run.payloads.filter(seq=2).delete()
    die_after_intent(run)
    drive(run)
    answer(run, 1, "rejected", reason="the customer has called")
    assert (drive(run).state, run.failure_class) == ("failed", "stopped")


def test_a_poisoned_run_ends_failed_with_its_evidence(pipeline):
    run = pipeline(("test.echo", {"text": "x"}))
    for _ in range(runner.POISONED_AFTER + 1):
        assert lease.take(run.pk)
        Run.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00:00Z")
    assert (drive(run).state, run.failure_class) == ("failed", "poisoned")


@pytest.mark.parametrize(("limits", "name"), [({"steps": 1}, "limit:steps"), ({"wall_s": 0}, "limit:wall_time")])
def test_a_limit_ends_a_run_failed_and_says_which(pipeline, limits, name):
    run = drive(pipeline(("test.echo", {"text": "x"}), ("test.echo", {"text": "y"}), limits=limits))
    assert (run.state, run.failure_class) == ("failed", name)


def test_the_sweep_rings_what_nobody_drives_with_doubling_patience(pipeline, monkeypatch):
    run = pipeline(("test.echo", {"text": "x"}))
    assert recovery.sweep(patience=60) == 0
    assert recovery.sweep(patience=0) == 1
    Run.objects.filter(pk=run.pk).update(rings=3, rung_at="2020-01-01T00:00:00Z", changed_at="2020-01-01T00:00:00Z")
    assert recovery.sweep(patience=1) == 1
    assert recovery.sweep(patience=1) == 0


def test_rollups_count_every_closed_step_and_run_once(pipeline):
    run = pipeline(("test.echo", {"text": "x"}), ("test.broken", {}))
    drive(run)
    rollups.roll_up()
    rollups.roll_up()
    minutes = run.agent.minutes.all()
    assert sum(minute.steps for minute in minutes) == 2
    assert sum(minute.step_errors for minute in minutes) == 1
    assert sum(minute.runs_failed for minute in minutes) == 1
    assert sum(sum(minute.run_seconds) for minute in minutes) == 1


def test_text_that_postgres_refuses_is_stored_readably(pipeline):
    run = drive(pipeline(("test.garble", {})))
    assert run.state == "completed"
    assert "\N{REPLACEMENT CHARACTER}" in run.result["text"]


def test_a_process_that_drives_a_run_of_its_own_is_no_worker(pipeline):
    assert drive(pipeline(("test.slow", {"seconds": RENEW_SECONDS + 0.2}))).state == "completed"
    assert not Worker.objects.exists()


def test_a_worker_that_stops_hands_its_run_back_at_the_next_checkpoint(pipeline, monkeypatch):
    monkeypatch.setattr(serving, "queues", "model")
    run = pipeline(*[("test.slow", {"seconds": 0.3})] * 3)
    thread = in_background(run)
    until(lambda: run.steps.count() == 1)
    here = {"name": keeper().name, "kind": "worker", "host": "here", "pid": 1}
    Worker.objects.update_or_create(name=keeper().name, defaults=here | {"driving": 1})
    keeper().stopping.set()
    try:
        thread.join(5)
    finally:
        keeper().stopping.clear()
    run.refresh_from_db()
    assert (run.state, run.lease_until) == ("queued", None)
    assert Worker.objects.get(name=keeper().name).driving == 0  # or it would look like one that died at work
    assert (drive(run).state, run.steps_done) == ("completed", 3)
    assert hotpath.pool().get_stats()["pool_size"] >= 1
