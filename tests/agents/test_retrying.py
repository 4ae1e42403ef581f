"""Trying again: what failed in passing is tried later, with no worker meanwhile; every try kept; none acts twice."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from agents import errors
from agents.contracts import ALLOW, Action, Verdict
from agents.llm import breakers, circuit
from agents.models import Release, Run, Step, StepAttempt, StepPayload, User
from agents.runs import gates, interventions, overriding, recovery, runner
from approvals.decisions import decide
from approvals.models import Approval
from finops.models import LedgerEntry
from tests import factories, toolbox
from tests.model_server import ModelServer, fails, says

pytestmark = pytest.mark.django_db(transaction=True)
Begin = Callable[..., Run]


@pytest.fixture(autouse=True)
def no_short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause is a row here, however short."""
    monkeypatch.setattr(runner, "SHORT_REST_S", -1.0)
    toolbox.effects.clear()
    toolbox.moods.clear()
    breakers.forget()


@pytest.fixture
def begin(olga: User) -> Begin:
    """Queue a run that uses one tool after the other, each as the moods say."""

    def begin(*tools: str, moods: str = "", **bundle: Any) -> Run:
        toolbox.moods[:] = moods.split()
        stages = [{"tool": tool, "arguments": {}, "on_error": "continue"} for tool in tools]
        agent = factories.agent()
        release = factories.release(agent, program="pipeline", models=[], tools=list(tools), pipeline=stages, **bundle)
        return factories.run(agent, by=olga, release=release)

    return begin


def drive(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def let_time_pass(run: Run) -> None:
    """The pause before the next try is over: the tick finds the timer due."""
    past = timezone.now() - timedelta(seconds=1)
    Step.objects.filter(run=run, due_at__isnull=False).update(due_at=past)
    Run.objects.filter(pk=run.pk, state="waiting").update(wake_at=past)
    recovery.sweep()


def to_the_end(run: Run, *, most: int = 10) -> Run:
    for _ in range(most):
        if drive(run).is_ended or run.waits not in {"retry", "capacity"}:
            return run
        let_time_pass(run)
    raise AssertionError(f"still {run.state} after {most} tries")


def test_a_busy_carrier_is_asked_again_later_and_nobody_waits_at_the_door(begin: Begin) -> None:
    run = drive(begin("test.ask", "test.echo", moods="busy"))
    step = run.steps.get()
    assert (run.state, run.waits, run.waiting_for, run.lease_until) == ("waiting", "retry", "the next try", None)
    assert (step.state, step.attempt, step.started_at, step.error) == ("intended", 1, None, "the carrier is busy")
    assert run.wake_at == step.due_at
    assert timezone.now() < step.due_at < timezone.now() + timedelta(seconds=2)
    let_time_pass(run)
    assert drive(run).state == "completed"
    assert run.steps.filter(name="test.ask", state="done", attempt=2).exists()
    tried = StepAttempt.objects.get(run=run)
    assert (tried.seq, tried.number, tried.error_class, tried.error) == (1, 1, "busy", "the carrier is busy")
    assert tried.due_at == step.due_at


@pytest.mark.parametrize("tool", ["test.ask", "test.book", "test.call"])
def test_after_the_last_try_it_has_failed_and_the_program_sees_why(begin: Begin, tool: str) -> None:
    run = to_the_end(begin(tool, moods="busy " * 9, settings={"attempts": 3}))
    assert (run.state, run.steps.get().state, run.steps.get().attempt) == ("completed", "failed", 3)
    assert StepAttempt.objects.filter(run=run).count() == 2  # the third is the step itself
    assert len(toolbox.moods) == 6
    assert toolbox.effects == []


def test_what_will_never_work_is_not_tried_again(begin: Begin) -> None:
    run = drive(begin("test.book", moods="no"))
    assert (run.state, run.steps.get().state, run.steps.get().attempt) == ("completed", "failed", 1)
    assert not StepAttempt.objects.filter(run=run).exists()


def test_a_lost_answer_is_asked_for_again_under_the_same_key_where_the_other_side_knows_keys(begin: Begin) -> None:
    run = to_the_end(begin("test.book", moods="lost busy"))
    assert (run.state, run.steps.get().state, run.steps.get().attempt) == ("completed", "done", 3)
    assert set(toolbox.effects) == {("book", f"{run.pk}:1")}


def test_a_lost_answer_that_stays_lost_is_for_a_person(begin: Begin) -> None:
    run = to_the_end(begin("test.book", moods="lost lost", settings={"attempts": 2}))
    assert (run.state, run.waits, run.steps.get().state) == ("waiting", "doubt", "in_doubt")
    assert Approval.objects.get(run=run).kind == "in_doubt"


def test_without_keys_a_lost_answer_is_never_asked_for_again(begin: Begin, rhea: User) -> None:
    run = drive(begin("test.call", moods="lost"))
    assert (run.state, run.waits, run.steps.get().state) == ("waiting", "doubt", "in_doubt")
    assert toolbox.effects == [("call", f"{run.pk}:1")]
    decide(Approval.objects.get(run=run), answer="absent", reason="I looked.", by=rhea, request_id=uuid4())
    assert drive(run).state == "completed"
    assert len(toolbox.effects) == 2  # because somebody said that it had not happened


def test_without_keys_a_busy_carrier_is_called_again_since_nothing_happened(begin: Begin) -> None:
    run = to_the_end(begin("test.call", moods="busy"))
    assert (run.state, toolbox.effects) == ("completed", [("call", f"{run.pk}:1")])


def test_a_driver_that_dies_during_the_second_try_leaves_a_doubt_and_not_a_third(begin: Begin) -> None:
    run = drive(begin("test.call", moods="busy"))
    let_time_pass(run)
    toolbox.moods[:] = ["die"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolbox, "moods", _Dies())
        with pytest.raises(KeyboardInterrupt):
            runner.drive(run.pk)
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert (drive(run).state, run.steps.get().state) == ("waiting", "in_doubt")


class _Dies(list[str]):
    def __bool__(self) -> bool:
        raise KeyboardInterrupt


def test_the_deadline_bounds_the_tries(begin: Begin) -> None:
    run = begin("test.ask", moods="busy " * 5)
    Run.objects.filter(pk=run.pk).update(deadline_at=timezone.now() + timedelta(seconds=0.4))
    drive(run)
    step = run.steps.get()
    assert step.state == "failed"
    assert re.fullmatch(
        r"the carrier is busy\. Another try would be too late: the run's time ends at \d\d:\d\d:\d\d UTC\.", step.error
    )
    assert not StepAttempt.objects.filter(run=run).exists()


@pytest.mark.parametrize(("most", "why"), [(2, "It was tried 2 times."), (1, "Its release wants it tried once.")])
def test_what_was_tried_often_enough_says_so(begin: Begin, most: int, why: str) -> None:
    run = to_the_end(begin("test.ask", moods="busy " * 5, settings={"attempts": most}))
    assert run.steps.get().error == f"the carrier is busy. {why}"


def test_cancelled_while_it_waits_for_the_next_try_nothing_is_in_doubt(begin: Begin, olga: User) -> None:
    run = drive(begin("test.call", moods="busy"))
    interventions.cancel(run, by=olga, reason="No longer needed.", request_id=uuid4())
    run.refresh_from_db()
    step = run.steps.get()
    assert (run.state, step.state, step.error_class, step.due_at) == ("cancelled", "cancelled", "busy", None)


@pytest.mark.parametrize("moods", ["lost", "lost busy"])
def test_cancelled_while_a_lost_answer_is_to_be_asked_for_again_it_may_have_happened(
    begin: Begin, olga: User, moods: str
) -> None:
    run = drive(begin("test.book", moods=moods))
    if moods != "lost":
        let_time_pass(run)
        drive(run)
    interventions.cancel(run, by=olga, reason="No longer needed.", request_id=uuid4())
    step = run.steps.get()
    assert (step.state, step.error_class, step.due_at) == ("cancelled", "in_doubt", None)
    assert step.error == "The run was cancelled. Whether it had happened by then, nobody knows."


class OnceOnly:
    """A gate that has let enough through."""

    left = 1

    def ask(self, action: Action) -> Verdict:
        return ALLOW

    def admit(self, action: Action) -> None:
        OnceOnly.left -= 1
        if OnceOnly.left < 0:
            raise errors.Conflict("That was enough.")


def test_what_a_gate_refuses_at_the_next_try_is_not_said_to_be_tried_again(begin: Begin, settings: Any) -> None:
    settings.AGENT_GATES = [f"{__name__}.OnceOnly"]
    gates.gates.cache_clear()
    try:
        run = drive(begin("test.call", moods="busy"))
        let_time_pass(run)
        step = drive(run).steps.get()
    finally:
        gates.gates.cache_clear()
    assert (run.state, step.state, step.error, step.due_at) == ("completed", "refused", "That was enough.", None)


def made_stricter(run: Run, by: User) -> Run:
    """Somebody wants to be asked about bookings and reads from now on; then the next try is due."""
    for tool in run.release.bundle["tools"]:
        change = {"parameter": f"tiers.{tool}", "value": 3, "expires_at": None}
        overriding.override(run, **change, by=by, reason="Look twice.", request_id=uuid4())
    let_time_pass(run)
    return drive(run)


@pytest.mark.parametrize("tool", ["test.call", "test.ask"])
def test_what_a_person_wants_to_be_asked_about_meanwhile_is_held_at_its_next_try(
    begin: Begin, olga: User, rhea: User, tool: str
) -> None:
    run = made_stricter(drive(begin(tool, moods="busy")), olga)
    step = run.steps.get()
    assert (run.waits, step.state, step.tier, step.gate, toolbox.effects) == ("approval", "held", 3, "tier", [])
    overriding.revert(run, parameter=f"tiers.{tool}", by=olga, request_id=uuid4())
    decide(Approval.objects.get(run=run), answer="approve", reason="", by=rhea, request_id=uuid4())
    assert (drive(run).state, len(toolbox.effects)) == ("completed", 1)


def test_an_act_that_may_have_happened_is_asked_about_and_not_refused_when_a_person_wants_to_be_asked_meanwhile(
    begin: Begin, olga: User
) -> None:
    run = made_stricter(drive(begin("test.book", moods="lost")), olga)
    assert (run.waits, run.steps.get().state) == ("doubt", "in_doubt")
    assert len(toolbox.effects) == 1


def test_paused_while_it_waits_it_tries_again_when_resumed(begin: Begin, olga: User) -> None:
    run = drive(begin("test.ask", moods="busy"))
    interventions.pause(run, by=olga, reason="Wait.", request_id=uuid4())
    let_time_pass(run)
    assert not runner.drive(run.pk)
    interventions.resume(run, by=olga, request_id=uuid4())
    assert drive(run).state == "completed"


def test_one_step_that_must_wait_keeps_its_neighbours_from_nothing(olga: User) -> None:
    """Three tools of one model turn: the first is busy, the others go on; all three are answered together."""
    calls = [{"tool": name, "arguments": {}} for name in ("test.ask", "test.book", "test.call")]
    agent = factories.agent()
    toolbox.moods[:] = ["busy"]
    release = factories.release(
        agent,
        tools=[call["tool"] for call in calls],
        simulated={"plays": [{"steps": [{"calls": calls}, {"say": "Done."}]}]},
    )
    run = factories.run(agent, by=olga, release=release)
    drive(run)
    states = dict(run.steps.values_list("name", "state"))
    assert (run.waits, states["test.ask"], states["test.book"], states["test.call"]) == (
        "retry",
        "intended",
        "done",
        "done",
    )
    assert to_the_end(run).state == "completed"


@pytest.fixture
def server() -> Any:
    with ModelServer() as running:
        yield running


def ask(server: ModelServer, olga: User, **bundle: Any) -> Run:
    agent = factories.agent()
    chain = [{"provider": "house", "model": "m1", "base_url": server.url}]
    release: Release = factories.release(agent, **({"models": chain} | bundle))
    return factories.run(agent, by=olga, release=release)


def test_a_model_that_asks_to_wait_is_asked_again_not_sooner(server: ModelServer, olga: User) -> None:
    server.script(fails(429, "slow down", retry_after=40), says("Here I am."))
    run = drive(ask(server, olga))
    assert run.waits == "retry"
    assert run.wake_at > timezone.now() + timedelta(seconds=38)
    let_time_pass(run)
    assert (drive(run).state, run.result) == ("completed", "Here I am.")
    assert StepAttempt.objects.get(run=run).model == "m1"


def test_what_failed_tries_may_have_cost_is_booked_each_once(server: ModelServer, olga: User) -> None:
    server.script(*[fails(504, "upstream took too long")] * 9)
    run = drive(ask(server, olga))
    tried = StepAttempt.objects.get(run=run)
    booked = list(LedgerEntry.objects.filter(run_id=run.pk))
    assert len(booked) == len(server.asked)
    assert run.tokens_in == sum(entry.tokens_in or 0 for entry in booked) > 0
    assert tried.cost == (sum((entry.amount for entry in booked if entry.amount), Decimal(0)) or None)


def test_a_step_says_of_each_model_before_its_answer_what_that_may_cost(server: ModelServer, olga: User) -> None:
    server.script(fails(503, "full"), fails(504, "upstream took too long"))
    chain = [{"provider": "house", "model": name, "base_url": server.url} for name in ("m1", "m2")]
    run = drive(ask(server, olga, models=chain))
    lost = LedgerEntry.objects.get(run_id=run.pk, model="m1")
    tries = StepPayload.objects.get(run_id=run.pk).output["attempts"]
    assert [(one["model"], one["kind"], one.get("cost_kind")) for one in tries] == [
        ("m1", "overloaded", None),
        ("m1", "server", lost.kind),
    ]
    assert run.steps.get().model == "m2"


def test_having_no_room_is_no_try(olga: User, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    full = errors.OutsideError("one van takes two.", kind="capacity", permanent=False, retry_after=3.0)
    refusals = [full, full]
    work = toolbox._meet

    def meet(*given: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return work(*given)

    monkeypatch.setattr(toolbox, "_meet", meet)
    run = drive(begin("test.book", settings={"attempts": 1}))
    assert (run.state, run.waits, run.waiting_for) == ("waiting", "capacity", "capacity")
    assert run.wake_at >= timezone.now() + timedelta(seconds=2.5)
    assert to_the_end(run).state == "completed"
    assert (run.steps.get().state, run.steps.get().attempt) == ("done", 1)
    assert not StepAttempt.objects.filter(run=run).exists()


def test_a_tool_that_keeps_failing_is_left_alone_and_its_runs_wait_without_using_up_their_tries(begin: Begin) -> None:
    for _ in range(circuit.FAILURES):
        to_the_end(begin("test.book", moods="busy", settings={"attempts": 1}))
    run = drive(begin("test.book", settings={"attempts": 1}))
    assert (run.state, run.waits, run.steps.get().error_class) == ("waiting", "retry", "breaker_open")
    assert "breaker of tool test.book is open (5 failures in a row)" in run.steps.get().error
    assert toolbox.effects == []
    assert not StepAttempt.objects.filter(run=run).exists()
    breakers.forget()  # as if it had cooled down
    assert to_the_end(run).state == "completed"
    assert (run.steps.get().attempt, toolbox.effects) == (1, [("book", f"{run.pk}:1")])


def test_a_tool_that_refuses_is_alive(begin: Begin) -> None:
    for _ in range(circuit.FAILURES * 2):
        drive(begin("test.book", moods="no"))
    assert drive(begin("test.book")).steps.get().state == "done"
