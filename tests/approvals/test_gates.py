"""Which acts wait for a person, and what lets them pass."""

import json
import timeit
from dataclasses import replace

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from agents import errors, signals
from agents.contracts import Stance
from agents.models import Run, User
from agents.runs import hotpath
from approvals import integrity
from approvals.gates import TierGate
from approvals.models import Approval
from tests import factories
from tests.approvals import questions

GATE = TierGate()


@pytest.mark.django_db
@pytest.mark.parametrize(("tier", "stance"), [(1, Stance.ALLOW), (2, Stance.ALLOW), (3, Stance.HOLD), (4, Stance.HOLD)])
def test_from_tier_3_on_an_act_waits_for_a_person(tier: int, stance: Stance) -> None:
    verdict = GATE.ask(questions.action(tier=tier))
    assert verdict.stance == stance
    assert verdict.detail == ({"zone": "yellow"} if tier >= 3 else {})
    assert (f"tier {tier}" in verdict.reason) is (stance == Stance.HOLD)


@pytest.mark.django_db
def test_what_is_simulated_and_what_a_model_is_asked_wait_for_nobody() -> None:
    for alone in (questions.action(environment="sandbox", tier=4), questions.action(kind="model", tier=3)):
        assert GATE.ask(alone).stance == Stance.ALLOW
        GATE.admit(alone)


@pytest.mark.django_db
def test_allowing_costs_the_engine_next_to_nothing() -> None:
    alone = questions.action(tier=2)
    assert min(timeit.repeat(lambda: GATE.ask(alone), number=2000, repeat=5)) / 2000 < 5e-6


def test_what_was_approved_may_be_done_until_it_has_been_done(approval: Approval, rhea: User) -> None:
    questions.settle(approval, by=rhea)
    act = questions.as_dispatched(approval)
    with transaction.atomic():
        GATE.admit(act)
        GATE.admit(replace(act, attempt=2))  # a driver died in between: the same act, the same key
    signals.act_performed.send(Run, run_id=act.run_id, seq=act.seq, state="done")
    with pytest.raises(errors.Conflict, match="tried already"), transaction.atomic():
        GATE.admit(act)


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        ({"arguments": {"order": "4711", "amount": "1184.00"}}, "amount was 184.00, is 1184.00"),
        ({"arguments": {"order": "4711"}}, "amount was 184.00, is not given"),
        ({"name": "test.wire"}, "tool was test.refund, is test.wire"),
        ({"tier": 4}, "tier was 3, is 4"),
    ],
)
def test_what_moved_since_the_approval_is_named_and_not_done(
    approval: Approval, rhea: User, moved: dict[str, object], told: str
) -> None:
    questions.settle(approval, by=rhea)
    with pytest.raises(errors.Conflict, match=told), transaction.atomic():
        GATE.admit(questions.as_dispatched(approval, **moved))


def test_another_release_is_not_what_was_approved(approval: Approval, rhea: User) -> None:
    questions.settle(approval, by=rhea)
    other = factories.agent("other").release_id
    with pytest.raises(errors.Conflict, match="release was"), transaction.atomic():
        GATE.admit(questions.as_dispatched(approval, release_id=other))


def test_nothing_passes_without_an_answer(approval: Approval, rhea: User) -> None:
    asked = questions.action(approval.run, seq=approval.seq)
    nobody_asked = questions.action(approval.run, seq=99)
    with pytest.raises(errors.Forbidden, match="is open"), transaction.atomic():
        GATE.admit(asked)
    with pytest.raises(errors.Forbidden, match="no person has been asked"), transaction.atomic():
        GATE.admit(nobody_asked)
    questions.settle(approval, by=rhea, answer="reject")
    with pytest.raises(errors.Forbidden, match="is rejected"), transaction.atomic():
        GATE.admit(asked)


def test_an_act_of_a_low_tier_that_another_gate_held_is_verified_too(rhea: User) -> None:
    approval = questions.held(tier=3)
    questions.settle(approval, by=rhea)
    act = questions.as_dispatched(approval)
    with pytest.raises(errors.Conflict, match="tier was 3, is 1"), transaction.atomic():
        GATE.admit(replace(act, tier=1))


def test_a_posted_outcome_lets_nothing_be_done(rhea: User) -> None:
    approval = questions.held(tier=4)
    questions.settle(approval, by=rhea, answer="outcome", outcome={"receipt": "R-1"})
    with pytest.raises(errors.Conflict, match="tried already"), transaction.atomic():
        GATE.admit(questions.as_dispatched(approval))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.django_db
def test_the_digest_survives_the_database() -> None:
    @given(arguments=st.dictionaries(st.text(max_size=8), JSON, max_size=5))
    def holds(arguments: dict[str, object]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::jsonb", [hotpath.to_json(arguments)])
            stored = cursor.fetchone()[0]
        assert integrity.digest({}, arguments) == integrity.digest({}, json.loads(stored))

    holds()


def test_digests_tell_apart_what_is_different() -> None:
    different = [{"n": 2**53 + 1}, {"n": str(2**53 + 1)}, {"n": 2**53}, {"n": True}, {"n": "true"}, {"n": None}, {}]
    assert len({integrity.digest({}, arguments) for arguments in different}) == len(different)
    assert integrity.digest({}, {"a": 1, "b": 2.0}) == integrity.digest({}, {"b": 2, "a": 1})
