"""From the agent's wish to the act in the world: real runner, real gates, real decisions, real commits."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, Run, User
from agents.runs import interventions, runner, starting
from approvals.models import Approval, Decision
from tests import factories, toolbox
from tests.approvals import questions

pytestmark = pytest.mark.django_db(transaction=True)

Start = Callable[..., Run]
REFUND = ("test.refund", {"order": "4711", "amount": "184.00"})


@pytest.fixture
def start(agent: Agent, olga: User) -> Start:
    """Start a scripted run of the cast's agent and drive it as far as it may go alone."""
    toolbox.effects.clear()

    def start(*stages: tuple[str, dict[str, Any]], **bundle: Any) -> Run:
        script = [{"tool": tool, "arguments": given, "on_error": "continue"} for tool, given in stages]
        tools = sorted({tool for tool, _ in stages})
        release = factories.release(agent, program="pipeline", pipeline=script, tools=tools, models=[], **bundle)
        return drive(starting.start(agent, objective="Ticket 882.", by=olga, release=release))

    return start


def drive(run: Run) -> Run:
    """What a worker does when it is rung."""
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def asked(run: Run) -> Approval:
    """The open question of a run."""
    found: Approval = Approval.objects.get(run=run, state=Approval.State.OPEN)
    return found


def test_an_approved_act_happens_once_and_the_approval_says_so(start: Start, rhea: User) -> None:
    run = start(REFUND, ("test.echo", {"text": "done"}))
    assert (run.state, toolbox.effects) == ("waiting", [])
    approval = asked(run)
    assert approval.says == "Refund €184.00 for order 4711"
    assert approval.preview == [{"what": "order 4711 paid", "before": "€184.00", "after": "€0.00"}]
    questions.settle(approval, by=rhea)
    assert drive(run).state == "completed"
    assert toolbox.effects == [("refund", f"{run.pk}:1")]
    approval.refresh_from_db()
    assert (approval.state, approval.executed) == ("approved", "executed")


def test_a_rejected_act_never_happens_and_the_agent_goes_on_knowing(start: Start, rhea: User) -> None:
    run = start(REFUND, ("test.echo", {"text": "done"}))
    questions.settle(asked(run), by=rhea, answer="reject", reason="Paid back already.")
    assert drive(run).state == "completed"
    step = run.steps.get(seq=1)
    assert (step.state, toolbox.effects) == ("refused", [])
    assert "Rejected by rhea: Paid back already." in step.error


def test_an_edited_act_happens_as_it_was_edited(start: Start, rhea: User) -> None:
    run = start(REFUND)
    questions.settle(asked(run), by=rhea, answer="edit", arguments={"order": "4711", "amount": "92.00"})
    drive(run)
    assert run.payloads.get(seq=1).output == {"order": "4711", "refunded": "92.00"}
    assert run.touches.get().amount == 92
    assert Approval.objects.get().executed == "executed"


def test_a_person_does_what_is_manual_and_the_tool_is_never_called(start: Start, rhea: User) -> None:
    run = start(("test.letter", {"text": "Sorry."}))
    with pytest.raises(errors.Conflict, match="a person does it"):
        questions.settle(asked(run), by=rhea)
    questions.settle(asked(run), by=rhea, answer="outcome", outcome={"posted": "box 12"})
    assert drive(run).state == "completed"
    assert run.payloads.get(seq=1).output == {"posted": "box 12"}


def test_in_a_sandbox_nobody_is_asked_and_nothing_happens(agent: Agent, start: Start) -> None:
    Agent.objects.filter(pk=agent.pk).update(environment="sandbox")
    agent.refresh_from_db()
    run = start(REFUND)
    assert (run.state, run.steps.get(seq=1).state, toolbox.effects) == ("completed", "done", [])
    assert not Approval.objects.exists()


def test_the_question_of_a_cancelled_run_is_withdrawn(start: Start, rhea: User, olga: User) -> None:
    run = start(REFUND)
    approval = asked(run)
    interventions.cancel(run, by=olga, reason="The customer has withdrawn.", request_id=uuid7())
    with pytest.raises(errors.Conflict, match="Nobody needs to answer this any more"):
        questions.settle(approval, by=rhea)
    approval.refresh_from_db()
    assert (approval.state, toolbox.effects) == ("superseded", [])


def test_what_was_allowed_and_then_cancelled_is_not_carried_out(start: Start, rhea: User, olga: User) -> None:
    run = start(REFUND)
    approval = asked(run)
    questions.settle(approval, by=rhea)
    interventions.cancel(run, by=olga, reason="The customer has withdrawn.", request_id=uuid7())
    drive(run)
    approval.refresh_from_db()
    assert (approval.state, approval.executed, toolbox.effects) == ("approved", "failed", [])


def test_an_answer_given_while_a_run_is_paused_is_used_when_it_goes_on(start: Start, rhea: User, olga: User) -> None:
    run = start(REFUND)
    approval = asked(run)
    interventions.pause(run, by=olga, reason="Lunch.", request_id=uuid7())
    questions.settle(approval, by=rhea)
    assert drive(run).state == "paused"
    interventions.resume(run, by=olga, request_id=uuid7())
    assert drive(run).state == "completed"
    assert len(toolbox.effects) == 1


def test_a_run_waits_for_all_of_its_questions(start: Start, rhea: User) -> None:
    run = start(REFUND, ("test.echo", {"text": "between"}), REFUND)
    questions.settle(asked(run), by=rhea)
    assert drive(run).state == "waiting"
    questions.settle(asked(run), by=rhea)
    assert drive(run).state == "completed"
    assert len(toolbox.effects) == 2


def test_an_allowed_act_whose_worker_died_is_asked_about_and_never_repeated_unasked(start: Start, rhea: User) -> None:
    run = start(("test.post", {"text": "hello"}), tiers={"test.post": 3})
    questions.settle(asked(run), by=rhea)
    drive(run)
    assert len(toolbox.effects) == 1
    # What a killed worker leaves: an intent without an outcome, and a lease that ran out.
    dead = {"state": "running", "finished_at": None, "result": None, "lease_until": "2020-01-01T00:00:00Z"}
    Run.objects.filter(pk=run.pk).update(lease_token=2, **dead)
    run.steps.filter(seq=1).update(state="intended", finished_at=None)
    Approval.objects.update(executed="not_yet")
    for _ in range(2):
        assert drive(run).state == "waiting"
    assert len(toolbox.effects) == 1
    doubt = asked(run)
    assert doubt.kind == Approval.Kind.IN_DOUBT
    questions.settle(doubt, by=rhea, answer="absent")
    assert drive(run).state == "completed"
    assert len(toolbox.effects) == 2
    assert set(Approval.objects.values_list("state", "executed")) == {("approved", "executed")}


def test_what_moved_between_the_approval_and_the_act_is_asked_again(start: Start, rhea: User) -> None:
    run = start(REFUND)
    first = asked(run)
    questions.settle(first, by=rhea)
    Decision.objects.all().delete()  # a decision about something else stands in its place
    Decision.objects.create(
        approval=Approval.objects.get(), by=rhea, answer="approve", digest="0" * 64, seconds=1, request_id=uuid7()
    )
    assert drive(run).state == "waiting"
    first.refresh_from_db()
    assert (first.state, run.steps.get(seq=1).state, toolbox.effects) == ("superseded", "held", [])
    assert "What moved: its content" in first.closed_because
    assert asked(run).follows_id == first.pk


def test_of_two_reviewers_at_the_same_moment_one_wins_and_one_is_told(start: Start, rhea: User) -> None:
    approval = asked(start(REFUND))
    reviewers = [rhea, *(factories.person(name, "reviewer", of=approval.team) for name in ("teo", "uma", "vic"))]
    gate, told = threading.Barrier(len(reviewers)), []

    def press(by: User) -> None:
        gate.wait()
        try:
            questions.settle(approval, by=by)
        except errors.Conflict as error:
            told.append(error.message)
        finally:
            connection.close()

    pressing = [threading.Thread(target=press, args=(by,)) for by in reviewers]
    for one in pressing:
        one.start()
    for one in pressing:
        one.join(timeout=20)
    winner = Decision.objects.select_related("by").get().by.name
    assert len(told) == len(reviewers) - 1
    assert all(sentence.startswith(f"Approved by {winner}, ") for sentence in told)


def test_deciding_and_cancelling_at_the_same_moment_ends_in_one_or_the_other(
    start: Start, rhea: User, olga: User
) -> None:
    for _ in range(5):
        run = start(REFUND)
        approval, gate, failed = asked(run), threading.Barrier(2), []

        def press(act: Callable[[], object], gate: threading.Barrier = gate, failed: list[str] = failed) -> None:
            gate.wait()
            try:
                act()
            except errors.Conflict as error:
                failed.append(error.message)
            finally:
                connection.close()

        acts: list[Callable[[], object]] = [
            partial(questions.settle, approval, by=rhea),
            partial(interventions.cancel, run, by=olga, reason="No.", request_id=uuid7()),
        ]
        pressing = [threading.Thread(target=press, args=(act,)) for act in acts]
        for one in pressing:
            one.start()
        for one in pressing:
            one.join(timeout=20)
        drive(run)
        approval.refresh_from_db()
        assert run.state == "cancelled"
        assert approval.state == ("superseded" if failed else "approved")
    assert toolbox.effects == []
