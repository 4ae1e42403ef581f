"""A run that ends badly after acting takes its acts back, the last one first, whatever happens on the way."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from agents import errors
from agents.contracts import Event
from agents.models import AuditEntry, Run, Step
from agents.runs import compensating, interventions, overriding, recovery, runner
from agents.tools import ToolError
from approvals.decisions import decide
from approvals.models import Approval
from tests import factories, toolbox
from tests.agents.dying import KilledError, dying, run_out

pytestmark = pytest.mark.django_db(transaction=True)

TOOLS = ["test.echo", "test.broken", "test.reserve", "test.send", "test.note", "test.letter", "test.refund"]
BREAK = ("test.broken", {})
WAIT = ("test.letter", {"text": "Dear café"})


@pytest.fixture(autouse=True)
def outside() -> Iterator[None]:
    toolbox.effects.clear()
    yield
    toolbox.troubles.clear()


@pytest.fixture
def start(team: Any, olga: Any):
    """Queue a run of a scripted pipeline."""
    agent = factories.agent(of=team)

    def start(*stages: tuple[str, dict[str, Any]], **how: Any) -> Run:
        listed = [{"tool": tool, "arguments": arguments} for tool, arguments in stages]
        bundle = {"program": "pipeline", "tools": TOOLS, "pipeline": listed, "models": [], "limits": {}, **how}
        return factories.run(agent, by=olga, release=factories.release(agent, **bundle))

    return start


def reserve(item: str) -> tuple[str, dict[str, Any]]:
    return "test.reserve", {"item": item}


def ship(item: str) -> tuple[str, dict[str, Any]]:
    return "test.send", {"item": item}


def drive(run: Run, most: int = 9) -> Run:
    """Drive until it ends or waits."""
    for _ in range(most):
        runner.drive(run.pk)
        run.refresh_from_db()
        if run.state != "queued":
            break
    return run


def drive_on(run: Run) -> Run:
    """Drive what a dead driver left, as soon as its lease has run out; its keeper may be renewing it just now."""
    run.refresh_from_db()
    for _ in range(9):
        if not run.is_ended:
            run_out(run)
            recovery.sweep(patience=0)
            drive(run)
    return run


def did() -> list[str]:
    return [what for what, _ in toolbox.effects]


def question(run: Run) -> Approval:
    return Approval.objects.get(run=run, state="open")


def steps_of(run: Run) -> list[tuple[int, str, str, int | None]]:
    return list(run.steps.order_by("seq").values_list("seq", "name", "state", "compensates"))


def test_a_failed_run_takes_its_acts_back_the_last_one_first_and_then_ends(start):
    run = drive(start(reserve("kettle"), reserve("grinder"), BREAK))
    assert (run.state, run.failure_class) == ("failed", "step_failed")
    assert did() == ["reserve kettle", "reserve grinder", "release R-grinder", "release R-kettle"]
    assert steps_of(run)[3:] == [(4, "test.release", "done", 2), (5, "test.release", "done", 1)]
    assert [key for _, key in toolbox.effects] == [f"{run.pk}:{seq}" for seq in (1, 2, 4, 5)], "each has its own key"
    entry = AuditEntry.objects.get(verb="run.failed")
    assert (entry.detail["taken_back"], entry.detail["left"]) == (2, 0)


def test_it_is_compensating_in_between_and_no_limit_holds_it_up(start):
    run = start(reserve("kettle"), reserve("grinder"), limits={"steps": 1})
    runner.drive(run.pk)
    run.refresh_from_db()
    assert (run.state, run.ending["failure_class"]) == ("queued", "limit:steps")
    claim = runner.lease.take(run.pk)
    run.refresh_from_db()
    assert (run.state, claim.state) == ("compensating", "compensating")
    runner.drive_claimed(claim)
    run.refresh_from_db()
    assert (run.state, run.failure_class, did()[-1]) == ("failed", "limit:steps", "release R-kettle")


def test_a_completed_run_takes_nothing_back_and_what_has_no_way_back_stays(start):
    assert drive(start(reserve("kettle"))).state == "completed"
    assert drive(start(("test.note", {"text": "hello"}), BREAK)).state == "failed"
    assert did() == ["reserve kettle", "note"]


@pytest.mark.parametrize("where", [{"environment": "sandbox"}, {"input": {"recording": "x"}}])
def test_what_never_happened_is_not_taken_back(start, where):
    run = start(reserve("kettle"), WAIT)
    drive(run)
    Run.objects.filter(pk=run.pk).update(**where)
    assert compensating.owed(Run.objects.get(pk=run.pk)) == []


def test_a_release_may_say_that_each_act_stands_for_itself(start):
    assert drive(start(reserve("kettle"), BREAK, compensate=False)).state == "failed"
    assert did() == ["reserve kettle"]


def test_cancelling_a_waiting_run_takes_its_acts_back(start, olga):
    run = drive(start(reserve("kettle"), WAIT))
    control = interventions.cancel(run, by=olga, reason="wrong order", request_id=uuid4())
    assert (run.state, control.obeyed_at is not None) == ("queued", True)
    assert not Approval.objects.filter(run=run, state="open").exists(), "the letter is no longer a question"
    with pytest.raises(errors.Conflict, match="taking its acts back already"):
        interventions.cancel(run, by=olga, reason="again", request_id=uuid4())
    assert drive(run).state == "cancelled"
    assert did() == ["reserve kettle", "release R-kettle"]


def test_a_cancel_that_a_driver_obeys_takes_the_acts_back_too(start, olga):
    run = start(reserve("kettle"), ("test.echo", {"text": "x"}))
    claim = runner.lease.take(run.pk)
    driver = runner.Driver(claim, runner.Cancellation())
    driver.take(*driver.next_turn())
    control = interventions.cancel(run, by=olga, reason="stop", request_id=uuid4())
    driver.drive()
    control.refresh_from_db()
    assert control.obeyed_at is not None
    assert (drive(run).state, did()) == ("cancelled", ["reserve kettle", "release R-kettle"])


def test_a_deadline_that_nobody_saw_takes_the_acts_back(start):
    run = drive(start(reserve("kettle"), WAIT))
    Run.objects.filter(pk=run.pk).update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert interventions.overdue() == 1
    assert interventions.overdue() == 0, "it is on its way to its end"
    run = drive(run)
    assert (run.state, run.failure_class, did()[-1]) == ("failed", "limit:deadline", "release R-kettle")


def test_a_run_may_be_paused_and_its_agent_frozen_while_acts_are_taken_back(start, olga):
    run = start(reserve("kettle"), BREAK)
    runner.drive(run.pk)
    run.refresh_from_db()
    interventions.pause(run, by=olga, reason="wait", request_id=uuid4())
    assert drive(run).state == "paused"
    interventions.resume(run, by=olga, request_id=uuid4())
    interventions.freeze(run.agent, by=olga, reason="look", request_id=uuid4())
    assert drive(run).state == "queued"
    interventions.thaw(run.agent, by=olga, request_id=uuid4())
    assert (drive(run).state, did()) == ("failed", ["reserve kettle", "release R-kettle"])


def test_the_compensation_of_an_approved_act_needs_no_second_approval(start, rhea):
    run = drive(start(("test.refund", {"order": "4711", "amount": "184.00"}), BREAK))
    decide(question(run), answer="approve", reason="fine", by=rhea, request_id=uuid4())
    assert drive(run).state == "failed"
    assert did() == ["refund", "recharge"]
    assert run.steps.get(compensates=1).says == "Recharge €184.00 for order 4711"


def test_what_only_people_do_is_asked_of_them(start, rhea):
    run = drive(start(reserve("kettle"), BREAK, tiers={"test.release": 4}))
    assert (run.state, run.waiting_for, did()) == ("waiting", "approval", ["reserve kettle"])
    decide(question(run), answer="outcome", outcome="Told the store.", reason="", by=rhea, request_id=uuid4())
    assert (drive(run).state, did()) == ("failed", ["reserve kettle"])
    assert str(compensating.tally(run)) == "1 act taken back"


@pytest.mark.parametrize(
    ("answer", "more", "state", "tally"),
    [
        ("outcome", {"outcome": "Called them."}, "done", "3 acts taken back"),
        ("absent", {}, "done", "3 acts taken back"),
        ("reject", {}, "refused", "2 acts taken back, 1 left as it is"),
    ],
)
def test_a_compensation_that_fails_asks_a_person_and_the_rest_waits_in_order(start, rhea, answer, more, state, tally):
    toolbox.troubles["test.release"] = ToolError("the store is closed")
    run = drive(start(reserve("kettle"), ship("beans"), reserve("grinder"), BREAK))
    asked = question(run)
    assert (run.state, asked.says) == ("waiting", "Release R-grinder")
    assert asked.reason == "Not taken back: the store is closed"
    assert "recall beans" not in did()
    del toolbox.troubles["test.release"]
    toolbox.effects.clear()
    decide(asked, answer=answer, reason="I looked", by=rhea, request_id=uuid4(), **more)
    assert drive(run).state == "failed"
    assert run.steps.get(compensates=3).state == state
    again = ["release R-grinder"] if answer == "absent" else []
    assert did() == [*again, "recall beans", "release R-kettle"]
    assert str(compensating.tally(run)) == tally


def test_what_fails_in_passing_is_tried_again_before_anybody_is_asked(start):
    toolbox.troubles["test.release"] = ToolError("the line is busy", permanent=False)
    run = drive(start(reserve("kettle"), BREAK, limits={"wall_s": 3600}))
    assert (run.state, run.waits) == ("waiting", "retry")
    del toolbox.troubles["test.release"]
    Run.objects.filter(pk=run.pk).update(wake_at=timezone.now())
    Step.objects.filter(run=run, compensates=1).update(due_at=timezone.now())
    recovery.sweep()
    assert drive(run).state == "failed"
    assert (run.steps.get(compensates=1).attempt, did()[-1]) == (2, "release R-kettle")


def test_an_act_that_can_no_longer_be_undone_in_time_is_a_question(start, rhea):
    run = drive(start(reserve("kettle"), WAIT))
    Step.objects.filter(run=run, seq=1).update(started_at=timezone.now() - timedelta(hours=25))
    decide(question(run), answer="reject", reason="no", by=rhea, request_id=uuid4())
    assert drive(run).state == "waiting"
    assert "could be taken back until" in question(run).reason
    assert did() == ["reserve kettle"]
    decide(question(run), answer="absent", reason="they still take it", by=rhea, request_id=uuid4())
    assert (drive(run).state, did()[-1]) == ("failed", "release R-kettle")


def test_a_compensation_whose_tool_is_gone_is_a_question(start, rhea, monkeypatch):
    run = start(reserve("kettle"), BREAK)
    monkeypatch.setattr(compensating, "way_back", lambda bundle, tool: "test.gone" if tool == "test.reserve" else "")
    assert drive(run).state == "waiting"
    assert "There is no tool called 'test.gone'" in question(run).reason
    decide(question(run), answer="reject", reason="It may stay.", by=rhea, request_id=uuid4())
    run = drive(run)
    assert (run.state, str(compensating.tally(run))) == ("failed", "0 acts taken back, 1 left as it is")


@pytest.mark.parametrize(
    ("answer", "effects"), [("outcome", ["ship beans", "recall beans"]), ("absent", ["ship beans"])]
)
def test_a_doubt_is_settled_before_anything_is_taken_back(start, olga, rhea, monkeypatch, answer, effects):
    run = start(reserve("kettle"), ship("beans"))
    monkeypatch.setattr(runner.performing.steps, "outcome", dies_at(2, runner.performing.steps.outcome))
    with pytest.raises(KilledError):
        runner.drive(run.pk)
    monkeypatch.undo()
    run_out(run)
    interventions.cancel(run, by=olga, reason="stop", request_id=uuid4())
    assert (drive(run).state, did()) == ("waiting", ["reserve kettle", "ship beans"])
    more = {"outcome": {"item": "beans"}} if answer == "outcome" else {}
    decide(question(run), answer=answer, reason="I asked them", by=rhea, request_id=uuid4(), **more)
    assert drive(run).state == "cancelled"
    assert did() == ["reserve kettle", *effects, "release R-kettle"]
    assert not Approval.objects.filter(run=run, state="approved", executed="not_yet").exists()


def dies_at(seq: int, send: Any) -> Any:
    def outcome(claim: Any, step: Any, result: Any) -> None:
        if step.seq == seq:
            raise KilledError
        send(claim, step, result)

    return outcome


def test_a_compensation_without_keys_that_died_on_the_way_is_in_doubt(start, rhea, monkeypatch):
    run = start(ship("beans"), BREAK)
    runner.drive(run.pk)
    monkeypatch.setattr(runner.performing.steps, "outcome", dies_at(3, runner.performing.steps.outcome))
    with pytest.raises(KilledError):
        runner.drive(run.pk)
    monkeypatch.undo()
    run_out(run)
    assert drive(run).state == "waiting"
    assert "nobody knows whether this was taken back" in question(run).reason
    decide(question(run), answer="outcome", outcome="It came back.", reason="", by=rhea, request_id=uuid4())
    assert (drive(run).state, did()) == ("failed", ["ship beans", "recall beans"])


def test_drivers_that_die_on_taking_back_end_in_a_question_and_not_in_a_loop(start, rhea):
    run = start(reserve("kettle"), BREAK)
    runner.drive(run.pk)
    Run.objects.filter(pk=run.pk).update(deaths=runner.POISONED_AFTER)
    assert (drive(run).state, did()) == ("waiting", ["reserve kettle"])
    assert "5 drivers in a row died" in question(run).reason
    decide(question(run), answer="absent", reason="try again", by=rhea, request_id=uuid4())
    assert (drive(run).state, did()[-1]) == ("failed", "release R-kettle")


def test_a_driver_killed_between_any_two_statements_costs_nothing_and_repeats_nothing(start):
    nth, struck = 0, True
    while struck:
        nth += 1
        toolbox.effects.clear()
        run = start(reserve("kettle"), reserve("grinder"), BREAK)
        with dying(nth) as fate, suppress(KilledError):
            drive(run)
        struck = fate.struck
        run = drive_on(run)
        assert (run.state, run.failure_class) == ("failed", "step_failed"), nth
        assert run.steps_done == run.steps.count() == 5, nth
        assert list(dict.fromkeys(toolbox.effects)) == [
            (what, f"{run.pk}:{seq}")
            for what, seq in [
                ("reserve kettle", 1),
                ("reserve grinder", 2),
                ("release R-grinder", 4),
                ("release R-kettle", 5),
            ]
        ], nth
        assert AuditEntry.objects.filter(verb="run.failed", subject_id=str(run.pk)).count() == 1
    assert nth > 30


def test_the_names_of_a_result_come_before_those_of_the_arguments() -> None:
    schema = {"properties": {"order": {}, "number": {}, "unknown": {}}}
    given, returned = {"order": "as asked", "text": "x"}, {"number": "R-1", "order": "as done"}
    act = Event(1, 1, "tool", "test.reserve", "done", {"arguments": given}, returned)
    assert compensating.arguments(schema, act) == {"order": "as done", "number": "R-1"}


def test_the_story_and_the_page_tell_what_was_taken_back(start, client, olga):
    run = drive(start(reserve("kettle"), BREAK))
    client.force_login(olga)
    page = client.get(f"/runs/{run.pk}/?step=1").content.decode()
    assert "Took back step 1: " in page
    assert "Release R-kettle" in page
    assert "1 act taken back." in page
    assert "can be undone until" not in page, "it has been"
    assert "Takes back" in client.get(f"/runs/{run.pk}/?step=3").content.decode()


def test_the_question_offers_what_can_be_done_about_an_act_that_stands(start, client, rhea):
    toolbox.troubles["test.release"] = ToolError("the store is closed")
    run = drive(start(reserve("kettle"), BREAK))
    client.force_login(rhea)
    page = client.get(f"/approvals/{question(run).pk}/").content.decode()
    for words in ("step 1 of this run", "I took it back by hand", "Try again", "Leave it as it is"):
        assert words in page
    page = client.get(f"/runs/{run.pk}/").content.decode()
    assert "a person to say what becomes of an act that could not be taken back" in page
    decide(question(run), answer="reject", reason="It may stay.", by=rhea, request_id=uuid4())
    assert "Left as it is by" in client.get(f"/approvals/{Approval.objects.get(run=run).pk}/").content.decode()
    drive(run)
    page = client.get(f"/runs/{run.pk}/").content.decode()
    assert "Left step 1 as it is" in page
    assert "0 acts taken back, 1 left as it is." in page


def test_a_run_on_its_way_to_its_end_says_so_and_offers_no_cancel(start, client, olga):
    toolbox.troubles["test.release"] = ToolError("the store is closed")
    run = drive(start(reserve("kettle"), BREAK))
    client.force_login(olga)
    page = client.get(f"/runs/{run.pk}/").content.decode()
    assert "Taking its acts back" in page
    assert "/cancellation/" not in page


def test_a_run_whose_parameters_were_changed_takes_its_acts_back_too(start, olga):
    run = start(reserve("a"), ship("b"), BREAK)
    given = {"reason": "careful", "request_id": uuid4(), "expires_at": timezone.now() + timedelta(seconds=60)}
    overriding.override(run, parameter="limits.steps", value=9, by=olga, **given)
    drive(run)
    assert (run.state, run.failure_class) == ("failed", "step_failed")
    assert [compensates for *_, compensates in steps_of(run)][-2:] == [2, 1]
