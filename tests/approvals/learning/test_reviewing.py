"""How people review, and what is planted to find out."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Role, Run, Step, Team, User
from agents.runs import runner
from approvals import integrity
from approvals.bulk import choosing, jobs
from approvals.bulk.choosing import Choice
from approvals.learning import calibration, labels, planting, reviewers
from approvals.learning.criteria import Reviewing
from approvals.learning.models import Look, Plant
from approvals.learning.reviewers import Reviewer
from approvals.learning.statistics import Share
from approvals.models import Approval
from tests import factories
from tests.approvals import questions

WRONG = {"order": "4711", "amount": "1840.00"}


def planted(like: Approval, by: User, **more: Any) -> Plant:
    given = {"arguments": WRONG, "wrong": "Ten times what was paid.", "request_id": uuid7(), **more}
    return planting.plant(like, by=by, **given)


def test_a_planted_request_looks_like_any_other(approval: Approval, governor: User, rhea: User, client: Client) -> None:
    factories.step(approval.run, seq=1, says="Read the ticket.")
    made = planted(approval, governor).approval
    assert (made.tool, made.tier, made.reasons, made.arguments) == (
        approval.tool,
        approval.tier,
        approval.reasons,
        WRONG,
    )
    assert made.alike == approval.alike
    assert "1840.00" in made.says
    client.force_login(rhea)
    page = client.get(f"/approvals/{made.pk}/").content.decode()
    assert "plant" not in page.lower()
    assert "Read the ticket." in page
    assert "plant" not in json.dumps(client.get(f"/api/v1/approvals/{made.pk}").json()).lower()
    assert "approval.planted" not in AuditEntry.objects.visible_to(rhea).values_list("verb", flat=True)
    assert AuditEntry.objects.filter(verb="approval.planted", by=governor).count() == 1


def test_whoever_planted_it_does_not_decide_it_nor_does_a_label_give_it_away(
    approval: Approval, rhea: User, team: Team
) -> None:
    ada = factories.person("ada", Role.ADMIN, of=team)
    asked = planted(approval, ada).approval
    with pytest.raises(errors.Forbidden, match="You started this run"):
        questions.settle(asked, by=ada, answer="reject")
    Approval.objects.filter(pk=asked.pk).update(votes_needed=2)
    questions.settle(asked, by=rhea)
    (label,) = labels.labelled(labels.decisions(None))
    assert (label.planted, label.right) == (False, None), "it is still open"


@pytest.mark.django_db(transaction=True)  # its driver sees only what is committed
@pytest.mark.parametrize(("answer", "caught"), [("approve", False), ("reject", True), ("edit", True)])
def test_answered_it_says_what_it_was_and_nothing_is_carried_out(
    approval: Approval, governor: User, rhea: User, answer: str, caught: bool
) -> None:
    plant = planted(approval, governor)
    asked = plant.approval
    edited = {"arguments": questions.REFUND} if answer == "edit" else {}
    questions.settle(asked, by=rhea, answer=answer, **edited)
    plant.refresh_from_db()
    asked.refresh_from_db()
    assert (plant.caught, plant.revealed_at is not None) == (caught, True)
    assert asked.executed == Approval.Executed.FAILED
    assert asked.closed_because == "This request was planted: Ten times what was paid. Nothing was carried out."
    run = Run.objects.get(pk=asked.run_id)
    assert run.state == Run.State.CANCELLED
    runner.drive(run.pk)
    assert set(run.steps.values_list("state", flat=True)) == {Step.State.CANCELLED}
    dispatched = questions.as_dispatched(asked)
    with pytest.raises((errors.Forbidden, errors.Conflict)), transaction.atomic():
        integrity.require_valid_decision(dispatched)


@pytest.mark.parametrize(
    ("answer", "alone", "caught", "counted"),
    [
        ("approve", False, False, Share(0, 1)),
        ("reject", False, None, Share(0, 0)),
        ("reject", True, True, Share(1, 1)),
    ],
)
def test_decided_with_what_it_is_like_it_is_missed_or_says_nothing_and_left_out_of_that_it_is_caught(
    approval: Approval,
    governor: User,
    rhea: User,
    client: Client,
    answer: str,
    alone: bool,
    caught: Any,
    counted: Share,
) -> None:
    plant = planted(approval, governor)
    group = choosing.members(approval, rhea)
    assert {one.pk for one in group} == {approval.pk, plant.approval_id}, "nothing sets it apart"
    chosen = Choice(ids=[plant.approval_id]) if alone else Choice(groups=[approval.pk], until=timezone.now())
    job = jobs.start(chosen, answer=answer, reason="Looked through.", by=rhea, request_id=uuid7())
    plant.refresh_from_db()
    assert (plant.caught, plant.revealed_at is not None) == (caught, True)
    assert Run.objects.get(pk=plant.approval.run_id).state == Run.State.CANCELLED
    assert reviewers.of(rhea)[0].planted == counted
    client.force_login(rhea)
    page = client.get(f"/approvals/bulk/{job.pk}/").content.decode()
    assert "Ten times what was paid. Nothing was carried out." in page
    assert {False: "let through", None: "rejected with others", True: "caught"}[caught] in page


def test_a_plant_teaches_nothing_about_the_agent(approval: Approval, governor: User, rhea: User) -> None:
    questions.settle(planted(approval, governor).approval, by=rhea, answer="reject")
    assert calibration.of(approval.agent_id, since=timezone.now() - timedelta(days=1)).judged == Share(0, 0)
    assert not calibration.track_record(approval).similar
    label = next(labels.every(labels.decisions(rhea)))
    assert (label.planted, label.right) == (True, None)


def test_what_nobody_answers_is_nobodys(approval: Approval, governor: User) -> None:
    from approvals import asking

    plant = planted(approval, governor)
    asking.close(plant.approval.run_id, plant.approval.seq, "The run was cancelled.")
    plant.refresh_from_db()
    assert (plant.caught, plant.revealed_at is not None) == (None, True)


def test_only_governance_plants_and_twice_is_once(approval: Approval, governor: User, rhea: User) -> None:
    with pytest.raises(errors.Forbidden, match="takes the role governance"):
        planted(approval, rhea)
    assert AuditEntry.objects.filter(verb="approval.planted", outcome="denied").count() == 1
    request_id = uuid7()
    assert planted(approval, governor, request_id=request_id) == planted(approval, governor, request_id=request_id)
    assert Approval.objects.count() == 2
    with pytest.raises(errors.Invalid, match="change what a reviewer should notice"):
        planted(approval, governor, arguments=approval.arguments)
    with pytest.raises(errors.Invalid, match="amount"):
        planted(approval, governor, arguments={"order": "4711"})


def test_it_is_planted_from_the_command_line_and_the_api(
    approval: Approval, governor: User, rhea: User, client: Client
) -> None:
    out = StringIO()
    call_command(
        "plant", "add", str(approval.pk), "--arguments", json.dumps(WRONG), "--wrong", "Too much.", "--as", "gwen",
        stdout=out,
    )  # fmt: skip
    call_command("plant", "list", stdout=out)
    assert "waits" in out.getvalue()
    with pytest.raises(CommandError, match="not JSON"):
        call_command("plant", "add", str(approval.pk), "--arguments", "{", "--wrong", "x", "--as", "gwen")
    body = {"arguments": WRONG, "wrong": "Too much."}
    address = f"/api/v1/approvals/{approval.pk}/plant"
    client.force_login(rhea)
    headers = {"X-CSRFToken": "t" * 32}
    client.cookies["csrftoken"] = "t" * 32
    assert client.post(address, body, content_type="application/json", headers=headers).status_code == 403
    assert Plant.objects.count() == 1


def reviewer(**given: Any) -> Reviewer:
    usual: dict[str, Any] = {
        "username": "rhea", "name": "Rhea", "decided": 40, "approved": 40, "first_look_s": 9.0, "read_s": 2.0,
        "decide_s": 11.0, "unseen": 0, "planted": Share(0, 0), "days": 2, "claimed": 0,
    }  # fmt: skip
    return Reviewer(**usual | given)


def test_a_rubber_stamp_is_quick_and_always_agrees() -> None:
    wanted = Reviewing()
    assert reviewers.hasty(reviewer(), wanted)
    for other in ({"read_s": 30.0}, {"approved": 30}, {"decided": 5, "approved": 5}, {"read_s": None}):
        assert not reviewers.hasty(reviewer(**other), wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.1, 100), st.floats(0.1, 100))
def test_who_reads_longer_or_objects_more_is_never_more_suspect(
    approved: int, wrong: int, read: float, more: float
) -> None:
    one = reviewer(decided=approved + wrong, approved=approved, read_s=read)
    slower = reviewer(decided=approved + wrong, approved=approved, read_s=read + more)
    stricter = reviewer(decided=approved + wrong, approved=max(approved - 1, 0), read_s=read)
    wanted = Reviewing()
    assert reviewers.hasty(one, wanted) >= reviewers.hasty(slower, wanted)
    assert reviewers.hasty(one, wanted) >= reviewers.hasty(stricter, wanted)


def test_figures_are_medians_of_what_a_person_did(
    team: Team, rhea: User, governor: User, max_: User, stranger: User
) -> None:
    run, other = questions.run(), factories.person("rolf", Role.REVIEWER, of=team)
    for seq, waits in ((2, 10), (3, 20), (4, 90)):
        asked = questions.held(run, seq=seq)
        Look.objects.create(approval=asked, by=rhea, digest="d", at=asked.requested_at + timedelta(seconds=waits))
        made = questions.settle(asked, by=rhea, answer="approve" if seq < 4 else "reject")
        Look.objects.filter(approval=asked).update(at=made.at - timedelta(seconds=waits))
        Approval.objects.filter(pk=asked.pk).update(requested_at=made.at - timedelta(seconds=2 * waits))
    questions.settle(questions.held(run, seq=5), by=other)
    for answer in ("approve", "reject"):
        questions.settle(planted(asked, governor).approval, by=other, answer=answer)
    found = {one.username: one for one in reviewers.of(max_)}
    assert found.keys() == {"rhea", "rolf"}
    mine = found["rhea"]
    assert (mine.decided, mine.approved, mine.unseen, mine.planted) == (3, 2, 0, Share(0, 0))
    assert (mine.first_look_s, mine.read_s) == (pytest.approx(20), pytest.approx(20))
    assert (found["rolf"].unseen, found["rolf"].planted, found["rolf"].read_s) == (3, Share(1, 2), None)
    assert [one.username for one in reviewers.of(rhea)] == ["rhea"]
    assert reviewers.of(stranger) == []


def test_a_reviewer_sees_their_own_page_and_governance_what_it_planted(
    approval: Approval, rhea: User, governor: User, max_: User, client: Client
) -> None:
    planted(approval, governor)
    questions.settle(approval, by=rhea)
    pages = {}
    for user in (rhea, max_, governor):
        client.force_login(user)
        pages[user.username] = client.get("/approvals/reviewers/").content.decode()
    assert "How you review" in pages["rhea"]
    assert "Ten times what was paid." not in pages["rhea"] + pages["max"]
    assert "Ten times what was paid." in pages["gwen"]
    assert "none planted" in pages["max"]
