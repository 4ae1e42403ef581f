"""What the engine must not lose or double when things happen at the worst moment: between two writes of one driver."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import Answer, Assignment, Event, Finish, Turn, UseTool, Wait
from agents.models import Agent, AuditEntry, Control, Release, Run, Step
from agents.runs import holds, hotpath, interventions, lease, planning, recovery, runner, starting, steps
from agents.runs.keeper import keeper
from agents.tools.catalogue import tool
from agents.tools.context import ToolError
from approvals.decisions import decide
from approvals.models import Approval
from finops.models import LedgerEntry
from tests import toolbox

pytestmark = pytest.mark.django_db(transaction=True)

TOOLS = ["test.echo", "test.slow", "test.broken", "test.refund", "test.note", "test.post", "test.noise"]
LONG_AGO = "2020-01-01T00:00:00Z"


@tool("test.noise", tier=1, writes=True)
def noise() -> None:
    """Fail in words that PostgreSQL does not take."""
    raise ToolError("nul \x00 and half a pair \ud83d", kind="carrier_" * 10)


class Several:
    """A program: the turn that the input names, all at once, then the end."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        if not history:
            return [UseTool(tool, arguments) for tool, arguments in assignment.input["turn"]]
        return [Finish(result=[event.state for event in history])]


class Noisy:
    """A program: asks as broken encoders do, and ends in the same words."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        noise = "nul \x00 and half a pair \ud83d"
        if not history:
            return [UseTool("test.refund", {"order": noise, "amount": "1.00"}), UseTool(noise * 20, {}, noise * 20)]
        return [Finish(failure=noise, detail=noise)]


class Patient:
    """A program: waits for the moment in its input, then does its work."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        if not history:
            return [Wait(datetime.fromisoformat(assignment.input["until"]), assignment.input.get("why", "the shop"))]
        if len(history) == 1:
            return [UseTool("test.note", {"text": "opened"})]
        return [Finish(result="done")]


@pytest.fixture
def begin(team: Any, olga: Any):
    """Queue a run of a program and give it back."""
    toolbox.effects.clear()

    def begin(program: str, given: dict[str, Any] | None = None, **bundle: Any) -> Run:
        slug = program.rpartition(":")[2].lower()
        agent, _ = Agent.objects.get_or_create(slug=slug, defaults={"name": slug, "team": team})
        version = uuid4().hex[:8]
        release = Release.objects.create(
            agent=agent, version=version, digest=version, program=program, bundle={"tools": TOOLS, **bundle}
        )
        return starting.start(agent, objective="Do the work.", by=olga, release=release, input=given)

    return begin


@pytest.fixture
def several(begin):
    def several(*turn: tuple[str, dict[str, Any]], **bundle: Any) -> Run:
        return begin(f"{__name__}:Several", {"turn": list(turn)}, **bundle)

    return several


@pytest.fixture
def pipeline(begin):
    def pipeline(*stages: tuple[str, dict[str, Any]], on_error: str = "stop", **bundle: Any) -> Run:
        listed = [{"tool": tool, "arguments": arguments, "on_error": on_error} for tool, arguments in stages]
        return begin("pipeline", pipeline=listed, **bundle)

    return pipeline


@pytest.fixture
def asker(begin):
    """A run of the tool loop on the simulated model, ended after one answer."""
    models = [{"provider": "simulated", "model": "sim-small"}]
    return lambda: begin("llm", models=models, tools=[], simulated={"latency_ms": [0, 1]})


def drive(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def answer(run: Run, seq: int, kind: str, **more: Any) -> None:
    holds.answer(run.pk, seq, answer=Answer(kind, None, "rhea", **more))


def states(run: Run) -> list[tuple[int, str]]:
    return list(run.steps.order_by("seq").values_list("seq", "state"))


def die(run: Run) -> None:
    """What a killed worker leaves of the lease it had."""
    Run.objects.filter(pk=run.pk, state="running").update(lease_until=LONG_AGO)
    run.refresh_from_db()


def intend_and_die(run: Run) -> None:
    """A worker is killed right after it committed the intent of the run's next step."""
    claim = lease.take(run.pk)
    seq, asked = runner.Driver(claim, Cancellation()).next_turn()
    assert steps.intend(claim, planning.plan(claim, asked[0], seq=seq, turn=seq))
    die(run)


def test_a_pause_amid_a_turn_whose_last_call_was_refused_at_once_loses_none_of_its_calls(several, olga):
    run = several(("test.note", {"text": "one"}), ("test.note", {"text": "two"}), ("test.unknown", {}))
    claim = lease.take(run.pk)
    run.refresh_from_db()
    interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    runner.drive_claimed(claim)
    run.refresh_from_db()
    assert (run.state, states(run)) == ("paused", [(3, "refused")])
    interventions.resume(run, by=olga, request_id=uuid4())
    assert drive(run).result == ["done", "done", "refused"]
    assert toolbox.effects == [("note", f"{run.pk}:1"), ("note", f"{run.pk}:2")]


def test_an_edited_act_in_doubt_after_a_crash_is_asked_about_and_repeated_as_it_was_edited(pipeline, rhea):
    run = drive(pipeline(("test.post", {"text": "refund 184"}), tiers={"test.post": 3}))
    question = Approval.objects.get(run=run)
    edited = {"text": "refund 100"}
    decide(question, answer="edit", reason="half", arguments=edited, by=rhea, request_id=uuid4())
    claim = lease.take(run.pk)
    driver = runner.Driver(claim, Cancellation())
    _, ready = driver.sort_out(*driver.next_turn())
    assert steps.intend(claim, ready[0])
    die(run)
    assert drive(run).state == "waiting"
    doubt = Approval.objects.get(run=run, kind=Approval.Kind.IN_DOUBT)
    assert (doubt.arguments, doubt.says) == (edited, "Post “refund 100”")
    decide(doubt, answer="absent", reason="I looked", by=rhea, request_id=uuid4())
    assert (drive(run).state, run.result) == ("completed", {"posted": "refund 100"})
    assert run.steps.get(seq=1).says == "Post “refund 100”"


def doubted(run: Run) -> Run:
    intend_and_die(run)
    assert drive(run).waiting_for == "a person to say what happened"
    return run


def test_a_run_that_a_person_stopped_over_a_doubt_stays_stopped_though_it_was_paused_at_that_moment(pipeline, olga):
    run = doubted(pipeline(("test.post", {"text": "hello"}), ("test.note", {"text": "never"}), on_error="continue"))
    answer(run, 1, "rejected", reason="the customer has called")
    claim = lease.take(run.pk)
    run.refresh_from_db()
    interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    runner.drive_claimed(claim)
    run.refresh_from_db()
    if run.state == "paused":
        interventions.resume(run, by=olga, request_id=uuid4())
        drive(run)
    assert (run.state, run.failure_class) == ("failed", "stopped")
    assert states(run) == [(1, "refused")]
    assert toolbox.effects == []


def test_stopping_a_run_over_a_doubt_stops_the_other_acts_of_the_same_turn_too(several):
    run = several(("test.post", {"text": "hello"}), ("test.note", {"text": "never"}))
    doubted(run)
    Step.objects.filter(run=run, seq=2).delete()
    answer(run, 1, "rejected", reason="the customer has called")
    toolbox.effects.clear()
    assert (drive(run).state, run.failure_class, toolbox.effects) == ("failed", "stopped", [])


def test_cancelling_a_run_that_may_have_acted_keeps_that_nobody_knows(pipeline, olga):
    run = pipeline(("test.post", {"text": "hello"}))
    intend_and_die(run)
    interventions.cancel(run, by=olga, reason="enough", request_id=uuid4())
    step = run.steps.get(seq=1)
    assert (run.state, step.state, step.error_class) == ("cancelled", "cancelled", "in_doubt")
    assert (run.lease_until, run.lease_holder) == (None, "")
    assert step.error == "The run was cancelled. Whether it had happened by then, nobody knows."


@pytest.fixture
def patient(begin):
    def patient(**given: Any) -> Run:
        until = (timezone.now() + timedelta(hours=1)).isoformat()
        return begin(f"{__name__}:Patient", {"until": until, **given})

    return patient


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_whoever_asks_while_a_run_goes_to_wait_is_obeyed_then_and_not_when_it_wakes(patient, olga, verb):
    run = patient()
    claim = lease.take(run.pk)
    run.refresh_from_db()
    control = getattr(interventions, verb)(run, by=olga, reason="look", request_id=uuid4())
    claim.asked = ""  # it was asked after the driver had last looked
    runner.drive_claimed(claim)
    run.refresh_from_db()
    control.refresh_from_db()
    assert run.state == {"pause": "paused", "cancel": "cancelled"}[verb]
    assert control.obeyed_at is not None


def test_pausing_and_resuming_a_waiting_run_does_not_cut_its_wait(patient, olga):
    run = drive(patient())
    assert (run.state, run.waiting_for) == ("waiting", "the shop")
    interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    interventions.resume(run, by=olga, request_id=uuid4())
    assert (drive(run).state, toolbox.effects) == ("waiting", [])
    assert (run.waiting_for, run.wake_at) == ("the shop", datetime.fromisoformat(run.input["until"]))


def test_a_pause_amid_a_wait_that_was_cut_short_is_obeyed_before_anything_else(patient, olga):
    run = drive(patient())
    interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    interventions.resume(run, by=olga, request_id=uuid4())
    claim = lease.take(run.pk)
    run.refresh_from_db()
    interventions.pause(run, by=olga, reason="look again", request_id=uuid4())
    runner.drive_claimed(claim)
    run.refresh_from_db()
    assert (run.state, run.steps_done, toolbox.effects) == ("paused", 1, [])


def test_a_wait_ends_when_its_moment_has_come(patient):
    run = drive(patient())
    soon = timezone.now() - timedelta(seconds=1)
    Run.objects.filter(pk=run.pk).update(wake_at=soon)
    run.payloads.filter(seq=1).update(input={"until": soon.isoformat()})
    assert recovery.sweep() == 1
    assert drive(run).state == "completed"


def test_a_long_reason_to_wait_is_cut_and_not_the_end_of_the_run(patient):
    run = drive(patient(why="because " * 60))
    assert (run.state, len(run.waiting_for)) == ("waiting", 200)


def test_a_call_lost_with_its_worker_is_booked_though_the_deadline_passes_meanwhile(asker):
    run = asker()
    intend_and_die(run)
    Run.objects.filter(pk=run.pk).update(deadline_at=LONG_AGO)
    interventions.overdue()
    assert (drive(run).state, run.failure_class) == ("failed", "limit:deadline")
    assert [entry.kind for entry in LedgerEntry.objects.filter(run=run)] == ["estimated"]
    assert run.tokens_in > 0


def test_a_call_lost_with_its_worker_is_booked_though_the_run_proves_poisoned(asker):
    run = asker()
    Run.objects.filter(pk=run.pk).update(deaths=runner.POISONED_AFTER - 1)
    intend_and_die(run)
    assert (drive(run).state, run.failure_class) == ("failed", "poisoned")
    assert [entry.kind for entry in LedgerEntry.objects.filter(run=run)] == ["estimated"]


def test_a_call_lost_with_its_worker_is_booked_though_a_frozen_agents_run_is_cancelled(asker, olga):
    run = asker()
    intend_and_die(run)
    interventions.freeze(run.agent, by=olga, reason="odd", request_id=uuid4())
    run = Run.objects.get(pk=run.pk)
    interventions.cancel(run, by=olga, reason="enough", request_id=uuid4())
    assert recovery.sweep(patience=0) == 1
    assert drive(run).state == "cancelled"
    assert [entry.kind for entry in LedgerEntry.objects.filter(run=run)] == ["estimated"]


@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_what_was_asked_of_a_driver_that_died_is_obeyed_though_the_agent_was_frozen_meanwhile(
    pipeline, olga, verb, state
):
    run = pipeline(("test.echo", {"text": "x"}))
    assert lease.take(run.pk)
    run.refresh_from_db()
    control = getattr(interventions, verb)(run, by=olga, reason="look", request_id=uuid4())
    interventions.freeze(run.agent, by=olga, reason="odd", request_id=uuid4())
    die(run)
    Run.objects.filter(pk=run.pk).update(changed_at=LONG_AGO)
    assert recovery.sweep() == 1
    assert (drive(run).state, run.steps.count()) == (state, 0)
    control.refresh_from_db()
    assert control.obeyed_at is not None


def test_a_pause_that_comes_as_a_worker_hands_its_run_back_is_obeyed_there(pipeline, olga):
    run = pipeline(("test.echo", {"text": "x"}))
    claim = lease.take(run.pk)
    run.refresh_from_db()
    control = interventions.pause(run, by=olga, reason="look", request_id=uuid4())
    keeper().stopping.set()
    try:
        runner.drive_claimed(claim)
    finally:
        keeper().stopping.clear()
    run.refresh_from_db()
    control.refresh_from_db()
    assert (run.state, control.obeyed_at is not None) == ("paused", True)


def at_once(run: Run, act: Any) -> list[Any]:
    """What two threads get that both have read the run before either may change it."""
    results: list[Any] = []

    def press() -> None:
        try:
            results.append(act())
        except errors.DomainError as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(2)]
    with hotpath.raw() as conn, conn.transaction():
        conn.execute("SELECT 1 FROM agents_run WHERE id = %s FOR UPDATE", [run.pk])
        conn.execute("SELECT 1 FROM agents_agent WHERE id = %s FOR UPDATE", [run.agent_id])
        for thread in threads:
            thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while hotpath.rows(waiting, {}) != [(2,)]:
            assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(5)
    return results


def test_one_request_sent_twice_at_the_same_moment_is_one_act(pipeline, olga):
    run, request_id = pipeline(("test.echo", {"text": "x"})), uuid4()
    pause = at_once(run, lambda: interventions.pause(run, by=olga, reason="look", request_id=request_id))
    assert pause == [Control.objects.get(request_id=request_id)] * 2
    request_id = uuid4()
    freeze = at_once(run, lambda: interventions.freeze(run.agent, by=olga, reason="odd", request_id=request_id))
    assert freeze == [Control.objects.get(request_id=request_id)] * 2
    assert AuditEntry.objects.filter(verb__in=["run.pause", "agent.freeze"]).count() == 2


def test_words_that_the_database_refuses_do_not_undo_what_was_done(pipeline):
    run = drive(pipeline(("test.noise", {}), on_error="continue"))
    step = run.steps.get(seq=1)
    assert (run.state, step.state, step.error) == ("completed", "failed", "nul � and half a pair �")
    assert (len(step.error_class), run.lease_token) == (60, 2)


def test_a_program_may_say_what_the_database_refuses(begin, rhea):
    run = drive(begin(f"{__name__}:Noisy"))
    assert (run.state, states(run)) == ("waiting", [(1, "held"), (2, "refused")])
    decide(Approval.objects.get(run=run), answer="approve", reason="", by=rhea, request_id=uuid4())
    assert (drive(run).state, run.ending["failure"]) == ("queued", "nul � and half a pair �")
    assert run.steps.get(seq=1).says == "Refund €1.00 for order nul � and half a pair �"
    assert run.touches.get().record == "nul � and half a pair �"
    assert (drive(run).state, run.failure) == ("failed", "nul � and half a pair �")
    assert run.steps.get(compensates=1).says == "Recharge €1.00 for order nul � and half a pair �"


def test_a_run_may_take_every_step_that_its_release_allows(pipeline):
    run = drive(pipeline(("test.echo", {"text": "x"}), ("test.echo", {"text": "y"}), limits={"steps": 2}))
    assert (run.state, run.failure) == ("completed", "")
