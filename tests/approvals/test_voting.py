"""How many people it takes: one vote each, of different hands, for exactly the same act."""

import json
from html import unescape

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Role, User
from agents.people import accounts
from approvals import duties, integrity, voting
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions
from tests.approvals.questions import REFUND, settle

pytestmark = pytest.mark.django_db
LESS = {**REFUND, "amount": "92.00"}


@pytest.fixture
def approval(team) -> Approval:
    """A refund that takes two people."""
    asked = questions.held()
    Approval.objects.filter(pk=asked.pk).update(votes_needed=2)
    return Approval.objects.get(pk=asked.pk)


@pytest.fixture
def teo(team) -> User:
    """Reviews too."""
    return factories.person("teo", Role.REVIEWER, of=team)


def now(approval: Approval) -> Approval:
    return Approval.objects.select_related("run__started_by", "agent__owner", "team").get(pk=approval.pk)


def test_the_act_waits_for_the_last_vote(approval, rhea, teo):
    settle(approval, by=rhea)
    assert (now(approval).state, questions.step_of(approval).answer) == ("open", None)
    settle(approval, by=teo)
    assert (now(approval).state, questions.step_of(approval).answer["kind"]) == ("approved", "approved")
    integrity.require_valid_decision(questions.as_dispatched(now(approval)))
    entries = AuditEntry.objects.filter(verb__startswith="approval.", by__isnull=False).order_by("pk")
    assert [(one.verb, one.by_name) for one in entries] == [
        ("approval.voted", "rhea"),
        ("approval.acknowledged", "rhea"),
        ("approval.decided", "teo"),
    ]


def test_nobody_votes_twice_and_neither_do_two_accounts_of_one_person(approval, rhea, team):
    made = settle(approval, by=rhea)
    token, _ = accounts.create_token("rheas", role=Role.REVIEWER, owner=rhea, by=None, team=team)
    with pytest.raises(errors.Forbidden, match="You voted at"):
        settle(approval, by=rhea)
    with pytest.raises(errors.Forbidden, match="behind whom the same person stands"):
        settle(approval, by=token.user)
    assert settle(approval, by=rhea, request_id=made.request_id) == made, "a double click is the same vote"
    assert Decision.objects.count() == 1
    assert AuditEntry.objects.filter(outcome="denied", verb="approval.decided").count() == 2
    twin = Decision(approval=approval, by=rhea, answer="approve", request_id=uuid7(), seconds=1)
    with pytest.raises(IntegrityError, match="decision_one_vote_each"), transaction.atomic():
        twin.save()


def test_one_rejection_ends_it(approval, rhea, teo, max_):
    settle(approval, by=rhea)
    settle(approval, by=teo, answer="reject", reason="The photo is of another machine.")
    assert (now(approval).state, questions.step_of(approval).answer["kind"]) == ("rejected", "rejected")


def test_an_edit_begins_the_votes_anew_and_those_who_voted_vote_on_what_would_happen_now(approval, rhea, teo):
    settle(approval, by=rhea)
    seen = voting.ballot(now(approval)).digest
    settle(approval, by=teo, answer="edit", arguments=LESS)
    ballot = voting.ballot(now(approval))
    assert (ballot.missing, ballot.arguments, now(approval).state) == (1, LESS, "open")
    with pytest.raises(errors.Conflict, match="changed it since you looked"):
        settle(approval, by=rhea, digest=seen)
    with pytest.raises(errors.Invalid, match="post the `digest`"):
        settle(approval, by=rhea)
    settle(approval, by=rhea, digest=ballot.digest)
    told = questions.step_of(approval).answer
    assert (now(approval).state, told["kind"], told["arguments"]) == ("edited", "edited", LESS)
    integrity.require_valid_decision(questions.as_dispatched(now(approval)))


def test_whoever_voted_may_still_edit_nothing_and_reject_nothing(approval, rhea):
    settle(approval, by=rhea)
    for answer, more in (("edit", {"arguments": LESS}), ("reject", {})):
        with pytest.raises(errors.Forbidden, match="the next vote is somebody else's"):
            settle(approval, by=rhea, answer=answer, **more)


def test_the_page_and_the_api_count_the_votes(approval, rhea, teo, client: Client):
    made = settle(approval, by=rhea)
    client.force_login(rhea)
    text = unescape(client.get(f"/approvals/{approval.pk}/").content.decode())
    assert "1 of 2 votes: rhea" in text
    assert "You voted at" in text
    settle(approval, by=teo, answer="edit", arguments=LESS)
    text = unescape(client.get(f"/approvals/{approval.pk}/").content.decode())
    assert "teo edited it, so votes began anew" in text
    assert "92.00" in text
    told = json.loads(client.get(f"/api/v1/approvals/{approval.pk}").content)
    assert [vote["by"] for vote in told["votes"]] == ["teo"]
    assert (told["votes_needed"], told["edited_arguments"], told["decision"]) == (2, LESS, None)
    assert told["digest"] != made.digest
    posted = {"answer": "approve", "request_id": str(uuid7()), "digest": told["digest"], "place": "page"}
    assert client.post(f"/approvals/{approval.pk}/decision/", posted).status_code == 302
    assert now(approval).state == "edited"


def test_nobody_decides_what_was_delegated_by_a_run_they_started(rhea, teo, team):
    token, _ = accounts.create_token("rheas", role=Role.OPERATOR, owner=rhea, by=None, team=team)
    top = questions.run(started_by=token.user)
    below = questions.run(parent=questions.run(parent=top, parent_seq=1, depth=1), parent_seq=1, depth=2)
    approval = now(questions.held(below))
    assert "started the run that delegated this, and the same person" in duties.refusal(rhea, approval)
    assert duties.refusal(teo, approval) == ""
