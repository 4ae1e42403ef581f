"""One answer to many questions: each is checked as if it were the only one, and each run goes on once."""

from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Run, Step, User
from approvals.decisions import Given, decide_many
from approvals.models import Approval, Decision
from tests.approvals import questions

pytestmark = pytest.mark.django_db


def asked(*approvals: Approval) -> dict[UUID, UUID]:
    return {approval.pk: uuid7() for approval in approvals}


def test_fifty_six_requests_of_one_step_are_one_act_and_one_continuation(rhea: User, woken: list[UUID]) -> None:
    run = questions.run()
    held = [questions.held(run, seq=seq) for seq in range(2, 58)]
    made = decide_many(asked(*held), Given(rhea, "approve", "All of these are damaged."))
    assert [type(one) for one in made] == [Decision] * 56
    assert woken == [run.pk]
    run.refresh_from_db()
    assert (run.state, run.waiting_for) == (Run.State.QUEUED, "")
    stored = Step.objects.filter(run=run).values_list("answer__kind", "answer__approval_id")
    assert sorted(stored) == sorted(("approved", str(one.pk)) for one in held)
    assert AuditEntry.objects.filter(verb="approval.decided", outcome="done", by=rhea).count() == 56
    assert {one.digest for one in Decision.objects.all()} == {one.digest for one in held}


def test_what_may_not_be_decided_is_left_and_named_and_the_rest_is_done(rhea: User, woken: list[UUID]) -> None:
    run = questions.run()
    fine, late = questions.held(run), questions.held(run, seq=3)
    own, manual = questions.held(questions.run(started_by=rhea)), questions.held(tier=4)
    questions.settle(late, by=rhea, answer="reject")
    nowhere = uuid7()
    made = decide_many({**asked(own, fine, late, manual), nowhere: uuid7()}, Given(rhea, "approve", "Fine."))
    assert isinstance(made[1], Decision)
    told = [str(one) for one in made if isinstance(one, errors.DomainError)]
    for sentence, words in zip(told, ["You started this run", "Rejected by rhea", "a person does it"], strict=False):
        assert words in sentence
    assert len(told) == 4
    assert set(Approval.objects.filter(state="open")) == {own, manual}
    assert AuditEntry.objects.get(outcome="denied").subject_id == str(own.pk)
    assert set(AuditEntry.objects.filter(outcome="failed").values_list("subject_id", flat=True)) == {
        str(late.pk),
        str(manual.pk),
    }
    assert woken == [run.pk]


def test_a_run_that_still_has_a_question_open_waits_on(rhea: User, woken: list[UUID]) -> None:
    run = questions.run()
    first, second, third = (questions.held(run, seq=seq) for seq in (2, 3, 4))
    decide_many(asked(first, second), Given(rhea, "reject", "Not these."))
    assert (woken, Run.objects.get(pk=run.pk).state) == ([], Run.State.WAITING)
    decide_many(asked(third), Given(rhea, "approve"))
    assert woken == [run.pk]


def test_the_same_request_ids_again_are_the_same_decisions(rhea: User, woken: list[UUID]) -> None:
    once = asked(questions.held(), questions.held(questions.run()))
    first = decide_many(once, Given(rhea, "approve"))
    assert decide_many(once, Given(rhea, "approve")) == first
    assert (Decision.objects.count(), len(woken)) == (2, 2)


def test_what_the_engine_no_longer_asks_is_left_open(rhea: User) -> None:
    gone, fine = questions.held(), questions.held(questions.run())
    Step.objects.filter(run_id=gone.run_id).update(state=Step.State.CANCELLED)
    made = decide_many(asked(gone, fine), Given(rhea, "approve"))
    assert "no longer waiting" in str(made[0])
    assert set(Approval.objects.filter(state="open")) == {gone}


def test_what_has_to_be_known_of_each_is_looked_up_for_all_of_them_at_once(rhea: User) -> None:
    def queries(number: int) -> int:
        delegated = [questions.held(questions.run(parent=questions.run(parent=questions.run()))) for _ in range(number)]
        closed = [questions.held(questions.run()) for _ in range(number)]
        voted = [questions.held(questions.run()) for _ in range(number)]
        Approval.objects.filter(pk__in=[one.pk for one in voted]).update(votes_needed=2)
        for one in closed:
            questions.settle(one, by=rhea, answer="reject")
        with CaptureQueriesContext(connection) as counted:
            made = decide_many(asked(*delegated, *closed, *voted), Given(rhea, "approve"))
        assert sum(isinstance(one, Decision) for one in made) == number
        return len(counted)

    assert queries(1) == queries(4)
