"""Every order of asking, claiming, deciding, editing, doubting, lapsing, withdrawing, dispatching and dying that
hypothesis can think of.

The invariant: what is let through has, at that moment, a decision for exactly this act by somebody who may decide it,
and is let through for one act only.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents import errors, signals
from agents.contracts import Action, Answer
from agents.models import Run, Step, User
from approvals import claiming, integrity
from approvals.escalation import expiring
from approvals.gates import TierGate
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions

GATE = TierGate()
AMOUNTS = st.sampled_from(["184.00", "92.00"])
# Mostly somebody who may, and mostly an answer that fits: what is refused is tried as well, but leads nowhere.
PEOPLE = st.sampled_from(["rhea", "rhea", "rhea", "teo", "teo", "olga", "owner", "starter"])
DECIDERS = frozenset({"rhea", "teo"})
ENDS = st.sampled_from(["done", "failed", "in_doubt", "died"])
ANSWERS = st.sampled_from(["approve", "approve", "absent", *Decision.Answer.values])


class Story:
    """One step of one run. `question` is what is asked now, `allowed` the digest that may happen now, kept by hand."""

    def __init__(self) -> None:
        self.people = {name: self.person(name) for name in ("rhea", "teo", "olga", "owner", "starter")}
        worker = factories.agent(owner=self.people["owner"])
        self.run = questions.run(worker, started_by=self.people["starter"])
        self.question: Approval | None = None
        self.allowed = ""
        self.last: tuple[Approval, dict[str, Any], Decision] | None = None
        questions.store(questions.action(self.run), state=Step.State.INTENDED)

    @staticmethod
    def person(name: str) -> User:
        known = User.objects.filter(username=name).first()
        role = "operator" if name == "olga" else "reviewer"
        return known or factories.person(name, role, of=factories.team())

    def act(self, amount: str) -> Action:
        return questions.action(self.run, arguments={"order": "4711", "amount": amount})

    def wait_for(self, act: Action, state: str) -> None:
        Step.objects.filter(run=self.run).update(state=state, answer=None)
        self.question = questions.latest(act)
        self.allowed = ""

    def the_gate_holds_it(self, amount: str) -> None:
        act = self.act(amount)
        signals.step_held.send(Step, action=act, verdict=GATE.ask(act))
        self.wait_for(act, Step.State.HELD)

    def nobody_knows_whether_it_happened(self, amount: str) -> None:
        act = self.act(amount)
        signals.step_doubted.send(Step, action=act)
        self.wait_for(act, Step.State.IN_DOUBT)

    def somebody_presses(self, who: str, answer: str, amount: str) -> None:
        if self.question is None:
            return
        approval, by = self.question, self.people[who]
        edited = {"order": "4711", "amount": amount} if answer == "edit" else None
        outcome = {"receipt": 7} if answer == "outcome" else None
        given = {"answer": answer, "arguments": edited, "outcome": outcome, "by": by, "request_id": uuid7()}
        now = Approval.objects.get(pk=approval.pk)
        is_free = now.held_by is None or now.held_by == by
        may, fits = who in DECIDERS, now.is_open and is_free and answer in approval.answers
        if not (may and fits):
            with pytest.raises(errors.Conflict if may else errors.Forbidden):
                questions.settle(approval, **given)
            return
        decision = questions.settle(approval, **given)
        self.last = approval, given, decision
        self.allowed = {"approve": approval.digest, "absent": approval.digest, "edit": decision.digest}.get(answer, "")

    def the_same_request_comes_again(self) -> None:
        if self.last is None:
            return
        approval, given, decision = self.last
        assert questions.settle(approval, **given) == decision

    def somebody_claims(self, who: str, reason: str) -> None:
        if self.question is None:
            return
        by, now = self.people[who], Approval.objects.get(pk=self.question.pk)
        is_free = now.held_by is None or now.held_by == by or bool(reason)
        if who in DECIDERS and now.is_open and is_free:
            assert claiming.claim(now, by=by, reason=reason).held_by == by
            return
        with pytest.raises(errors.Conflict if who in DECIDERS else errors.Forbidden):
            claiming.claim(now, by=by, reason=reason)

    def the_claim_runs_out(self) -> None:
        past = timezone.now() - timedelta(seconds=1)
        Approval.objects.filter(claimed_by__isnull=False).update(claimed_until=past)
        claiming.expire()
        assert not Approval.objects.open().filter(claimed_by__isnull=False).exists()

    def its_time_is_over(self) -> None:
        if self.question is None or self.question.kind == Approval.Kind.IN_DOUBT:
            return
        past = timezone.now() - timedelta(seconds=1)
        Approval.objects.filter(pk=self.question.pk).update(expires_at=past)
        was_open = Approval.objects.get(pk=self.question.pk).is_open
        assert expiring.expire_overdue() == was_open
        self.allowed = ""  # let through or not: from now on it is too old

    def nobody_needs_an_answer(self) -> None:
        signals.step_closed.send(Run, run_id=self.run.pk, seq=2, reason="The run was cancelled.")
        self.allowed = ""

    def the_driver_dispatches(self, amount: str, answered: bool, ends: str) -> None:
        act = self.act(amount)
        if answered:
            act = replace(act, answer=Answer("approved", None, "rhea"))
        try:
            with transaction.atomic():
                GATE.admit(act)
        except (errors.Forbidden, errors.Conflict):
            assert integrity.digest(integrity.bound(act), act.arguments) != self.allowed
            return
        assert integrity.digest(integrity.bound(act), act.arguments) == self.allowed
        if ends != "died":
            signals.act_performed.send(Run, run_id=self.run.pk, seq=2, state=ends)
        if ends in ("done", "failed"):
            self.allowed = ""

    def questions_and_answers_agree(self) -> None:
        rows = list(Approval.objects.of_step(self.run.pk, 2).prefetch_related("decisions"))
        assert sum(row.is_open for row in rows) <= 1
        answered = Approval.DECIDED | {Approval.State.SUPERSEDED}  # asked back, or let through before something moved
        for row in rows:
            assert row.decisions.count() <= 1
            assert row.state not in Approval.DECIDED or row.decisions.count() == 1
            assert row.state in answered or not row.decisions.count()
            assert row.executed != Approval.Executed.EXECUTED or row.state in Approval.ALLOWING


def told(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """One thing that happens in a story."""
    return st.tuples(st.just(name), st.fixed_dictionaries(fields))


ASKED = st.one_of(told("the_gate_holds_it", amount=AMOUNTS), told("nobody_knows_whether_it_happened", amount=AMOUNTS))
PRESSED = told("somebody_presses", who=PEOPLE, answer=ANSWERS, amount=AMOUNTS)
DISPATCHED = told("the_driver_dispatches", amount=AMOUNTS, answered=st.booleans(), ends=ENDS)
CLAIMED = told("somebody_claims", who=PEOPLE, reason=st.sampled_from(["", "", "I know this customer."]))
OTHERWISE = st.one_of(
    told("the_same_request_comes_again"),
    told("nobody_needs_an_answer"),
    told("the_claim_runs_out"),
    told("its_time_is_over"),
    CLAIMED,
)
# Chapters that lead somewhere, and between them whatever may come at any time.
CHAPTERS = st.one_of(
    st.tuples(ASKED, PRESSED, DISPATCHED, DISPATCHED),
    st.tuples(ASKED, CLAIMED, PRESSED, DISPATCHED),
    st.tuples(ASKED, PRESSED, told("its_time_is_over"), DISPATCHED),
    st.tuples(ASKED, PRESSED, DISPATCHED, ASKED, DISPATCHED),
    st.tuples(PRESSED, DISPATCHED, PRESSED),
    st.tuples(OTHERWISE, DISPATCHED),
    st.tuples(ASKED),
)


@pytest.mark.django_db
def test_what_is_let_through_was_decided_exactly_so() -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(CHAPTERS, min_size=4, max_size=8))
    def holds(chapters: list[tuple[tuple[str, dict[str, Any]], ...]]) -> None:
        story = Story()
        for name, fields in chain.from_iterable(chapters):
            getattr(story, name)(**fields)
            story.questions_and_answers_agree()

    holds()
