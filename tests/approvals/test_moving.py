"""An approval counts for exactly what was seen, and for a while: what moved since is shown and asked again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import errors
from agents.contracts import Stance, Verdict
from agents.models import Agent, AuditEntry, Run, User
from approvals import terms
from approvals.escalation import expiring
from approvals.models import Approval
from tests import toolbox
from tests.approvals import questions, scripted
from tests.approvals.scripted import asked, drive

SETTLE = ("test.settle", {"order": "4711", "amount": "184.00"})
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(agent: Agent, olga: User, transactional_db: None) -> Run:
    """It asks whether it may settle an order for which €184 were paid."""
    toolbox.effects.clear()
    toolbox.ledger.clear()
    toolbox.ledger["4711"] = "184.00"
    return scripted.start(agent, olga, SETTLE)


@committed
def test_what_an_approval_rests_on_is_looked_up_again_when_the_act_is_to_happen(run: Run, rhea: User) -> None:
    first = asked(run)
    assert first.bound["preconditions"] == {"paid": "184.00"}
    questions.settle(first, by=rhea)
    toolbox.ledger["4711"] = "92.00"
    assert drive(run).state == "waiting"
    assert toolbox.effects == []
    first.refresh_from_db()
    assert (first.state, first.executed) == ("superseded", "not_yet")
    again = asked(run)
    assert (again.follows_id, again.moved) == (first.pk, ["paid was 184.00, is 92.00"])
    questions.settle(again, by=rhea)
    assert drive(run).state == "completed"
    assert toolbox.effects == [("settle", f"{run.pk}:1")]
    again.refresh_from_db()
    assert (again.state, again.executed) == ("approved", "executed")


@committed
def test_what_moved_again_is_asked_again_and_an_edit_is_kept(run: Run, rhea: User) -> None:
    half = {"order": "4711", "amount": "92.00"}
    questions.settle(asked(run), by=rhea, answer="edit", arguments=half)
    toolbox.ledger["4711"] = "100.00"
    drive(run)
    again = asked(run)
    assert again.arguments == half
    questions.settle(again, by=rhea)
    toolbox.ledger["4711"] = "99.00"
    drive(run)
    assert asked(run).moved == ["paid was 100.00, is 99.00"]
    questions.settle(asked(run), by=rhea)
    assert drive(run).state == "completed"
    assert run.payloads.get(seq=1).output["settled"] == "92.00"


@committed
def test_an_edit_is_bound_to_what_the_edited_act_rests_on(run: Run, rhea: User) -> None:
    toolbox.ledger["4712"] = "50.00"
    decision = questions.settle(asked(run), by=rhea, answer="edit", arguments={"order": "4712", "amount": "50.00"})
    assert decision.bound["preconditions"] == {"paid": "50.00"}
    assert drive(run).state == "completed"
    assert run.payloads.get(seq=1).output["order"] == "4712"


@committed
def test_what_was_let_through_does_not_happen_a_day_later(run: Run, rhea: User) -> None:
    first = asked(run)
    questions.settle(first, by=rhea)
    Approval.objects.filter(pk=first.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert drive(run).state == "waiting"
    assert toolbox.effects == []
    assert "it was let through until" in asked(run).moved[0]


@committed
def test_what_gates_deny_by_now_is_refused_and_not_asked_again(
    run: Run, rhea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.runs import gates

    questions.settle(asked(run), by=rhea)
    toolbox.ledger["4711"] = "92.00"
    with monkeypatch.context() as patch:
        patch.setattr(gates, "judge", lambda action: Verdict(Stance.DENY, "policy", "Not any more."))
        assert drive(run).state == "completed"
    step = run.steps.get(seq=1)
    assert (step.state, step.error, toolbox.effects) == ("refused", "Not any more.", [])
    assert Approval.objects.get().executed == "failed"


@committed
def test_a_question_that_nobody_answers_expires_and_lets_nothing_through(run: Run, rhea: User) -> None:
    approval = asked(run)
    Approval.objects.filter(pk=approval.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(errors.Conflict, match="This could be answered until"):
        questions.settle(approval, by=rhea)
    assert (expiring.expire_overdue(), expiring.expire_overdue()) == (1, 0)
    with pytest.raises(errors.Conflict, match="may no longer be done on this question"):
        questions.settle(approval, by=rhea)
    assert drive(run).state == "completed"
    step = run.steps.get(seq=1)
    assert (step.state, step.error_class, toolbox.effects) == ("refused", "expired", [])
    assert "Not decided in time: Its time was over" in step.error
    assert AuditEntry.objects.filter(verb="approval.expired").count() == 1


def test_a_gate_may_say_for_how_long_its_act_can_be_let_through(settings: object) -> None:
    assert terms.of(Verdict(Stance.HOLD, "policy", "x", {"expires_minutes": 5})).lasts == timedelta(minutes=5)
    assert terms.of(Verdict(Stance.HOLD, "policy", "x")).lasts is None
    assert terms.usually() == timedelta(hours=24)


@pytest.mark.django_db
def test_what_was_let_through_counts_for_a_day_from_the_answer_on_however_long_that_took(rhea: User) -> None:
    asked = questions.held()
    assert asked.expires_at is None, "it is held until somebody decides"
    decision = questions.settle(asked, by=rhea)
    asked.refresh_from_db()
    assert asked.expires_at == decision.at + timedelta(hours=24)
    doubted = questions.doubted(seq=3)
    questions.settle(doubted, by=rhea, answer="absent")
    doubted.refresh_from_db()
    assert doubted.expires_at is None


@committed
def test_a_reviewer_asks_the_agent_back_and_sees_what_was_asked_when_it_proposes_again(
    agent: Agent, olga: User, rhea: User
) -> None:
    toolbox.effects.clear()
    refund = ("test.refund", {"order": "4711", "amount": "184.00"})
    run = scripted.start(agent, olga, refund, refund)
    first = asked(run)
    with pytest.raises(errors.Invalid, match="Write the question"):
        questions.settle(first, by=rhea, answer="ask", reason=" ")
    questions.settle(first, by=rhea, answer="ask", reason="Why all of it?")
    first.refresh_from_db()
    assert (first.state, first.closed_because) == ("superseded", "Asked back: Why all of it?")
    with pytest.raises(errors.Conflict, match="Asked back by rhea"):
        questions.settle(first, by=rhea)
    drive(run)
    step = run.steps.get(seq=1)
    assert (step.state, step.error_class, toolbox.effects) == ("refused", "asked", [])
    assert step.error == "The reviewer asks: Why all of it? Nothing was done; answer, and propose it again."
    second = asked(run)
    assert (second.follows_id, second.moved) == (first.pk, None)
    questions.settle(second, by=rhea)
    assert drive(run).state == "completed"
    assert toolbox.effects == [("refund", f"{run.pk}:2")]
