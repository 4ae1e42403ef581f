"""Deciding: what each answer does, who may, and what a late, double or crossed click is told."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.utils import ProgrammingError
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors, signals
from agents.models import AuditEntry, Run, Step, Team, User
from agents.people import accounts
from approvals.gates import TierGate
from approvals.models import Approval, Decision
from approvals.policies import granted
from approvals.signals import approvals_closed
from tests import factories
from tests.approvals import questions

GATE = TierGate()


def admitted(approval: Approval) -> None:
    """Ask the gate as the driver does before it acts."""
    with transaction.atomic():
        GATE.admit(questions.as_dispatched(approval))


# --- answers --------------------------------------------------------------------------------------------------------
def test_an_approval_lets_the_run_go_on(approval: Approval, rhea: User) -> None:
    decision = questions.settle(approval, by=rhea)
    approval.refresh_from_db()
    assert (approval.state, approval.executed, approval.decided_at) == ("approved", "not_yet", decision.at)
    assert questions.step_of(approval).answer["kind"] == "approved"
    assert Run.objects.get(pk=approval.run_id).state == Run.State.QUEUED
    admitted(approval)


def test_a_rejection_needs_a_reason_and_carries_it_to_the_agent(approval: Approval, rhea: User) -> None:
    with pytest.raises(errors.Invalid, match="Say why") as refused:
        questions.settle(approval, by=rhea, answer="reject", reason="  ")
    assert refused.value.field == "reason"
    assert Approval.objects.get(pk=approval.pk).is_open
    questions.settle(approval, by=rhea, answer="reject", reason="Paid back already.")
    answer = questions.step_of(approval).answer
    assert (answer["kind"], answer["reason"], answer["by_name"]) == ("rejected", "Paid back already.", "rhea")


def test_an_edit_is_checked_like_the_agents_own_arguments_and_becomes_what_is_allowed(
    approval: Approval, rhea: User
) -> None:
    with pytest.raises(errors.Invalid, match="amount"):
        questions.settle(approval, by=rhea, answer="edit", arguments={"order": "4711", "amount": "a lot"})
    with pytest.raises(errors.Invalid, match="JSON object"):
        questions.settle(approval, by=rhea, answer="edit")
    decision = questions.settle(approval, by=rhea, answer="edit", arguments={"order": "4711", "amount": "92.00"})
    assert decision.digest not in ("", approval.digest)
    admitted(approval)
    with pytest.raises(errors.Conflict, match=r"amount was 92\.00, is 184\.00"), transaction.atomic():
        GATE.admit(questions.as_dispatched(approval, arguments=questions.REFUND))


def test_arguments_of_a_recorded_tool_are_taken_as_they_are_since_nothing_is_called_with_them(rhea: User) -> None:
    approval = questions.held(name="recorded.book")
    decision = questions.settle(approval, by=rhea, answer="edit", arguments={"seat": "12A"})
    approval.refresh_from_db()
    assert (approval.state, decision.arguments) == ("edited", {"seat": "12A"})


def test_a_manual_act_is_not_approved_but_done_by_the_person(rhea: User) -> None:
    approval = questions.held(tier=4, name="test.letter", arguments={"text": "Sorry."})
    with pytest.raises(errors.Conflict, match="a person does it") as refused:
        questions.settle(approval, by=rhea)
    assert refused.value.status == 409
    with pytest.raises(errors.Invalid, match="what came of it"):
        questions.settle(approval, by=rhea, answer="outcome", outcome={})
    questions.settle(approval, by=rhea, answer="outcome", outcome={"posted": "box 12"})
    answer = questions.step_of(approval).answer
    assert (answer["kind"], answer["outcome"]) == ("outcome", {"posted": "box 12"})
    approval.refresh_from_db()
    assert (approval.state, approval.executed) == ("approved", "executed")


@pytest.mark.parametrize(
    ("answer", "fields", "kind"),
    [("outcome", {"outcome": {"receipt": 7}}, "outcome"), ("absent", {}, "absent"), ("reject", {}, "rejected")],
)
def test_a_person_says_what_became_of_a_doubted_act(answer: str, fields: dict[str, Any], kind: str, rhea: User) -> None:
    approval = questions.doubted()
    assert approval.kind == Approval.Kind.IN_DOUBT
    with pytest.raises(errors.Conflict, match="say what happened"):
        questions.settle(approval, by=rhea)
    questions.settle(approval, by=rhea, answer=answer, **fields)
    assert questions.step_of(approval).answer["kind"] == kind


def test_what_did_not_happen_may_be_done_again_exactly_as_it_was_edited(rhea: User) -> None:
    run = questions.run()
    edited = {"order": "4711", "amount": "92.00"}
    first = questions.held(run)
    questions.settle(first, by=rhea, answer="edit", arguments=edited)
    Step.objects.filter(run=run).update(state="in_doubt", answer=None)
    with transaction.atomic():
        signals.step_doubted.send(Step, action=questions.action(run, arguments=edited))
    doubt = questions.latest(questions.action(run))
    questions.settle(doubt, by=rhea, answer="absent")
    admitted(doubt)
    signals.act_performed.send(Step, run_id=run.pk, seq=doubt.seq, state="done")
    assert set(Approval.objects.values_list("executed", flat=True)) == {"executed"}


def test_to_do_again_what_was_in_doubt_takes_what_it_took_to_let_it_through(rhea: User, team: Team) -> None:
    teo = factories.person("teo", "reviewer", of=team)
    run = questions.run()
    first = questions.held(run)
    Approval.objects.update(votes_needed=2, zone="red")
    questions.settle(first, by=rhea)
    questions.settle(first, by=teo)
    Approval.objects.update(level=3, expires_at=timezone.now())
    Step.objects.filter(run=run).update(state="in_doubt", answer=None)
    with transaction.atomic():
        signals.step_doubted.send(Step, action=questions.action(run))
    doubt = questions.latest(questions.action(run))
    assert (doubt.kind, doubt.level, doubt.votes_needed, doubt.zone) == ("in_doubt", 3, 2, "red")
    Approval.objects.filter(pk=doubt.pk).update(level=1)  # so that nobody needs a browser here
    questions.settle(doubt, by=rhea, answer="absent")
    doubt.refresh_from_db()
    assert (doubt.is_open, questions.step_of(doubt).answer) == (True, None), "one of two"
    assert granted.of(questions.action(run)) is None, "what has expired grants nothing"
    questions.settle(doubt, by=teo, answer="absent")
    assert granted.of(questions.action(run)) == granted.Granted(level=1, votes=2)
    admitted(doubt)


# --- late, double, crossed ------------------------------------------------------------------------------------------
def test_a_late_click_changes_nothing_and_is_told_who_was_first(approval: Approval, rhea: User, team: Team) -> None:
    first = questions.settle(approval, by=rhea)
    teo = factories.person("teo", "reviewer", of=team)
    with pytest.raises(errors.Conflict, match=rf"Approved by rhea, {first.at:%H:%M}"):
        questions.settle(approval, by=teo, answer="reject")
    assert Decision.objects.get() == first
    assert AuditEntry.objects.get(by=teo).outcome == AuditEntry.Outcome.FAILED


def test_the_same_request_twice_is_one_decision(approval: Approval, rhea: User) -> None:
    key = uuid7()
    first = questions.settle(approval, by=rhea, request_id=key)
    assert questions.settle(approval, by=rhea, request_id=key) == first
    assert AuditEntry.objects.filter(verb="approval.decided").count() == 1
    with pytest.raises(errors.Conflict, match="with another answer, which counts: approved"):
        questions.settle(approval, by=rhea, answer="reject", request_id=key)


def test_the_same_edit_twice_is_one_decision_and_another_edit_is_not(approval: Approval, rhea: User) -> None:
    edit: dict[str, Any] = {"by": rhea, "answer": "edit", "request_id": uuid7()}
    first = questions.settle(approval, arguments={"order": "4711", "amount": "92.00"}, **edit)
    assert questions.settle(approval, arguments={"order": "4711", "amount": "92.00"}, **edit) == first
    late = Approval.objects.get()
    assert questions.settle(late, arguments={"order": "4711", "amount": "92.00"}, **edit) == first
    for asked, other in ((approval, {"order": "4711", "amount": "93.00"}), (late, {"order": 7})):
        with pytest.raises(errors.Conflict, match="with another answer"):
            questions.settle(asked, arguments=other, **edit)


def test_the_same_request_with_another_code_is_told(approval: Approval, rhea: User) -> None:
    rejected: dict[str, Any] = {"by": rhea, "answer": "reject", "request_id": uuid7()}
    first = questions.settle(approval, code="not_needed", **rejected)
    assert questions.settle(approval, code="not_needed", **rejected) == first
    with pytest.raises(errors.Conflict, match="counts: rejected"):
        questions.settle(approval, code="not_allowed", **rejected)


def test_a_request_id_belongs_to_one_decision_of_one_person(approval: Approval, rhea: User) -> None:
    key = uuid7()
    questions.settle(approval, by=rhea, request_id=key)
    other = questions.held(seq=3)
    with pytest.raises(errors.Conflict, match="used for another decision"):
        questions.settle(other, by=rhea, request_id=key)
    assert Approval.objects.get(pk=other.pk).is_open


def test_a_question_whose_run_has_ended_needs_no_answer(approval: Approval, rhea: User) -> None:
    signals.step_closed.send(Run, run_id=approval.run_id, seq=approval.seq, reason="The run was cancelled.")
    with pytest.raises(errors.Conflict, match="Nobody needs to answer this any more: The run was cancelled"):
        questions.settle(approval, by=rhea)
    approval.refresh_from_db()
    assert approval.state == Approval.State.SUPERSEDED


def test_what_was_allowed_but_never_carried_out_says_so(approval: Approval, rhea: User) -> None:
    questions.settle(approval, by=rhea)
    signals.step_closed.send(Run, run_id=approval.run_id, seq=approval.seq, reason="The run was cancelled.")
    approval.refresh_from_db()
    assert (approval.state, approval.executed) == ("approved", "failed")
    assert approval.closed_because == "The run was cancelled."


def test_asking_again_is_the_same_question_and_asking_something_else_replaces_it(approval: Approval) -> None:
    same = questions.action(approval.run, seq=approval.seq)
    signals.step_held.send(Step, action=same, verdict=GATE.ask(same))
    assert questions.latest(same) == approval
    other = questions.action(approval.run, seq=approval.seq, arguments={"order": "4711", "amount": "1.00"})
    signals.step_held.send(Step, action=other, verdict=GATE.ask(other))
    approval.refresh_from_db()
    assert approval.state == Approval.State.SUPERSEDED
    assert questions.latest(other).is_open


def test_a_decision_is_never_rewritten(approval: Approval, rhea: User) -> None:
    decision = questions.settle(approval, by=rhea)
    with pytest.raises(ProgrammingError, match="immutable"), transaction.atomic():
        Decision.objects.filter(pk=decision.pk).update(answer="reject")


# --- who may --------------------------------------------------------------------------------------------------------
def own_run(rhea: User) -> Approval:
    """Rhea has started it herself."""
    return questions.held(questions.run(started_by=rhea))


def own_agent(rhea: User) -> Approval:
    """Rhea owns the agent."""
    return questions.held(questions.run(factories.agent("refunds", owner=rhea)))


def own_token(rhea: User) -> Approval:
    """A token of Rhea's has started it."""
    token, _ = accounts.create_token("nightly", role="operator", owner=rhea, by=None)
    return questions.held(questions.run(started_by=token.user))


@pytest.mark.parametrize(
    ("brought_about", "told"),
    [
        (own_run, "You started this run"),
        (own_agent, "You own Refunds"),
        (own_token, "nightly started this run, and the same person"),
    ],
)
@pytest.mark.parametrize("through", ["herself", "her token", "as administrator"])
def test_nobody_decides_what_is_their_own(
    brought_about: Callable[[User], Approval], told: str, through: str, rhea: User
) -> None:
    approval = brought_about(rhea)
    by, sentence = rhea, told
    if through == "her token":
        by = accounts.create_token("helper", role="reviewer", owner=rhea, by=None)[0].user
        sentence = "the same person stands behind both"
    elif through == "as administrator":
        rhea.memberships.create(role="admin", team=None)
    with pytest.raises(errors.Forbidden, match=sentence):
        questions.settle(approval, by=User.objects.get(pk=by.pk))
    assert Approval.objects.get(pk=approval.pk).is_open
    denied = AuditEntry.objects.get(verb="approval.decided")
    assert (denied.outcome, denied.by, denied.detail["answer"]) == ("denied", by, "approve")


def test_deciding_takes_a_role(approval: Approval, olga: User, stranger: User) -> None:
    for by in (olga, stranger):
        with pytest.raises(errors.Forbidden, match="takes the role reviewer in Service"):
            questions.settle(approval, by=by)
    assert AuditEntry.objects.filter(verb="approval.decided", outcome="denied").count() == 2


def test_what_was_decided_is_announced_inside_the_transaction(approval: Approval, rhea: User) -> None:
    heard = []

    def hear(sender: object, approvals: list[Approval], **_: object) -> None:
        heard.extend((one.pk, one.state, transaction.get_connection().in_atomic_block) for one in approvals)

    approvals_closed.connect(hear)
    try:
        questions.settle(approval, by=rhea)
    finally:
        approvals_closed.disconnect(hear)
    assert heard == [(approval.pk, "approved", True)]


# --- for real, with commits -----------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_refused_attempt_is_kept_though_everything_else_is_undone(rhea: User) -> None:
    approval = questions.held(questions.run(started_by=rhea))
    with pytest.raises(errors.Forbidden):
        questions.settle(approval, by=rhea)
    with pytest.raises(RuntimeError), transaction.atomic():
        questions.settle(approval, by=rhea)
    assert AuditEntry.objects.filter(outcome="denied").count() == 1
