"""How much somebody may write with one act: the same for every verb, and told in one sentence."""

from collections.abc import Callable
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Team, User
from approvals import claiming, delegating, limits
from approvals.bulk import jobs
from approvals.bulk.choosing import Choice
from approvals.models import Approval, Decision
from tests import factories
from tests.api import stage
from tests.approvals import questions

LONG = "x" * (limits.LONGEST + 1)


def in_bulk(approval: Approval, by: User) -> Any:
    chosen = Choice(ids=[approval.pk])
    return jobs.start(chosen, answer="approve", reason=LONG, by=by, request_id=uuid7())


def hand_over(approval: Approval, by: User) -> Any:
    teo = factories.person("teo", "reviewer", of=approval.team)
    return delegating.delegate(approval, to=teo, note=LONG, by=by, request_id=uuid7())


@pytest.mark.parametrize(
    "act",
    [
        lambda approval, by: questions.settle(approval, by=by, reason=LONG),
        lambda approval, by: claiming.claim(approval, by=by, reason=LONG),
        lambda approval, by: claiming.release(approval, by=by, reason=LONG),
        in_bulk,
        hand_over,
    ],
)
def test_no_verb_takes_more_than_a_person_writes(act: Callable[..., Any], approval: Approval, rhea: User) -> None:
    with pytest.raises(errors.Invalid, match=r"takes up to 2,000 characters; these are 2,001\."):
        act(approval, rhea)
    assert not Decision.objects.exists()
    assert not AuditEntry.objects.filter(by=rhea).exists()


def test_what_fits_is_taken_and_an_outcome_is_no_file(rhea: User) -> None:
    manual = questions.held(questions.run(), tier=4)
    with pytest.raises(errors.Invalid, match=r"`outcome` takes up to 65,536 bytes of JSON; these are"):
        questions.settle(manual, by=rhea, answer="outcome", outcome={"note": "\N{SNOWMAN}" * 22_000})
    made = questions.settle(manual, by=rhea, answer="outcome", outcome={"note": "Sent."}, reason=LONG[1:])
    assert len(made.reason) == limits.LONGEST


def test_the_api_says_so_before_anything_is_looked_up(approval: Approval, team: Team) -> None:
    door = stage.token("door", "reviewer")
    for path, given in (
        (f"/approvals/{approval.pk}/decision", {"answer": "approve", "reason": LONG}),
        (f"/approvals/{approval.pk}/claim", {"reason": LONG}),
        (f"/approvals/{approval.pk}/delegation", {"to": "rhea", "note": LONG}),
        ("/approvals/bulk", {"answer": "approve", "reason": LONG, "ids": [str(approval.pk)]}),
    ):
        told = door.refused("POST", path, given, status=422, code="invalid")
        assert (told["field"], "2000" in told["message"].replace(",", "")) in {("reason", True), ("note", True)}, told
