"""Acknowledging a question, and what its page, the API and the page of a policy say of clock and ladder."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Team, User
from agents.runs import interventions
from approvals import claiming
from approvals.escalation import acknowledging, firing, hours, publishing, reading
from approvals.models import Approval, Escalation, EscalationPolicy
from tests import factories
from tests.approvals import questions
from tests.approvals.clockwork import MINUTE, let_pass, now, policy


@pytest.fixture
def approval(team: Team, rhea: User, olga: User) -> Approval:
    """May the agent refund €184? By the policy above."""
    policy(team)
    return questions.held()


def test_whoever_acknowledges_quiets_the_ladder_for_a_while_and_only_that(
    approval: Approval, rhea: User, olga: User
) -> None:
    let_pass(approval, 8)
    acknowledging.acknowledge(approval, by=rhea)
    acknowledging.acknowledge(approval, by=rhea)
    assert AuditEntry.objects.filter(verb="approval.acknowledged", by=rhea).count() == 1, "twice is once"
    let_pass(approval, 14)
    assert firing.fire() == 0
    let_pass(approval, 2)
    assert firing.fire() == 1
    row = now(approval)
    assert (row.state, row.rung, row.acknowledged_by, row.acknowledged_at) == ("open", 1, None, None)
    assert list(Escalation.objects.values_list("what", flat=True)) == ["reopened", "escalated"]
    assert [one.verb for one in AuditEntry.objects.filter(by=None).order_by("id")][-2:] == [
        "approval.reopened",
        "approval.escalated",
    ]


def test_only_who_may_decide_acknowledges_and_one_at_a_time(approval: Approval, rhea: User, olga: User) -> None:
    with pytest.raises(errors.Forbidden, match="takes the role reviewer"):
        acknowledging.acknowledge(approval, by=olga)
    assert AuditEntry.objects.filter(verb="approval.acknowledged", outcome="denied", by=olga).exists()
    acknowledging.acknowledge(approval, by=rhea)
    other = factories.person("ruth", "reviewer", of=approval.team)
    with pytest.raises(errors.Conflict, match="rhea has acknowledged this"):
        acknowledging.acknowledge(approval, by=other)


def test_a_vote_is_an_acknowledgement_unless_somebody_has_it_in_hand_already(
    approval: Approval, rhea: User, team: Team
) -> None:
    Approval.objects.filter(pk=approval.pk).update(votes_needed=3)
    ruth = factories.person("ruth", "reviewer", of=team)
    let_pass(approval, 8)
    questions.settle(approval, by=rhea)
    first = now(approval)
    assert (first.state, first.acknowledged_by) == ("open", rhea)
    assert first.acknowledged_at is not None
    assert first.next_due_at == first.acknowledged_at + 15 * MINUTE
    questions.settle(approval, by=ruth)
    assert (now(approval).acknowledged_by, now(approval).acknowledged_at) == (rhea, first.acknowledged_at)
    let_pass(approval, 14)
    assert firing.fire() == 0
    let_pass(approval, 2)
    assert firing.fire() == 1, "and where the last vote is missing then, others are asked"


def test_claiming_and_opening_acknowledge_but_a_page_that_renews_itself_does_not(
    approval: Approval, rhea: User, olga: User, client: Any
) -> None:
    address = f"/approvals/{approval.pk}/"
    client.force_login(rhea)
    client.get(address, headers={"HX-Request": "true", "HX-Target": f"question-{approval.pk}"})
    assert now(approval).acknowledged_by is None
    client.force_login(olga)
    client.get(address)
    assert now(approval).acknowledged_by is None, "she may not decide it"
    client.force_login(rhea)
    client.get(address)
    assert now(approval).acknowledged_by == rhea
    claimed = questions.held(seq=3)
    claiming.claim(claimed, by=rhea)
    assert now(claimed).acknowledged_by == rhea


# --- what pages and the API say ---------------------------------------------------------------------------------------
HELD = "then nobody else is asked, and it waits", "it stays open until somebody decides"


def test_the_question_shows_its_clock_and_its_ladder(approval: Approval, rhea: User, olga: User, client: Any) -> None:
    client.force_login(olga)
    let_pass(approval, 11)
    firing.fire()
    text = unescape(client.get(f"/approvals/{approval.pk}/").content.decode())
    for shown in ("of 15\u00a0min", "<b>L1</b> rhea", "<b>L2</b> ada", *HELD):
        assert shown in text
    interventions.pause(approval.run, by=olga, reason="Let me look.", request_id=uuid7())
    text = unescape(client.get(f"/approvals/{approval.pk}/").content.decode())
    assert "clock paused" in text
    assert "(run paused)" in text
    assert "clock paused since" in unescape(client.get("/approvals/").content.decode())


def test_outside_hours_a_question_says_until_when(team: Team, rhea: User, olga: User, client: Any) -> None:
    policy(team)
    here = timezone.now()
    day = hours.WEEKDAYS[(here + timedelta(days=2)).weekday()]
    publishing.publish_calendar({"team": "service", "hours": {day: "08:00-09:00"}}, by=None)
    approval = questions.held()
    timing = reading.course(approval, at=timezone.now()).timing
    assert (timing.within_hours, timing.elapsed, timing.remaining) == (False, timedelta(0), 15 * MINUTE)
    assert timing.opens_at.date() == (here + timedelta(days=2)).date()
    assert approval.due_at == timing.opens_at + 15 * MINUTE
    client.force_login(olga)
    assert "outside hours" in client.get(f"/approvals/{approval.pk}/").content.decode()
    assert "outside hours until" in unescape(client.get("/approvals/").content.decode())


def test_the_ladder_ahead_is_what_then_happens(approval: Approval, rhea: User, olga: User) -> None:
    ahead = [step for step in reading.course(approval, at=timezone.now()).steps if step.place == "coming"]
    assert [(step.what, step.at) for step in ahead] == [
        ("escalated", approval.requested_at + 10 * MINUTE),
        ("held", approval.requested_at + 30 * MINUTE),
    ]
    let_pass(approval, 11)
    firing.fire()
    steps = reading.course(now(approval), at=timezone.now()).steps
    assert [(step.place, step.what) for step in steps] == [
        ("past", "escalated"),
        ("here", "escalated"),
        ("coming", "held"),
    ]


def test_the_page_says_when_a_question_ends_and_nothing_comes_behind_that(
    approval: Approval, rhea: User, olga: User, client: Any
) -> None:
    ends = approval.requested_at + 20 * MINUTE
    Approval.objects.update(expires_at=ends)
    ahead = [step for step in reading.course(now(approval), at=timezone.now()).steps if step.place == "coming"]
    assert [(step.what, step.at) for step in ahead] == [
        ("escalated", approval.requested_at + 10 * MINUTE),
        ("expired", ends),
    ]
    client.force_login(olga)
    text = unescape(client.get(f"/approvals/{approval.pk}/").content.decode())
    assert "it can be answered until" in text
    assert "then rejected; it is not done" in text
    assert not [one for one in HELD if one in text]


def test_a_policy_is_previewed_and_then_published_on_its_page(
    team: Team, rhea: User, governor: User, client: Any
) -> None:
    client.force_login(governor)
    page = f"/approvals/escalation/{team.slug}/"
    form = {"targets1": "rhea", "minutes1": "7", "targets3": "role:admin", "minutes3": "9", "after_last": "reject"}
    text = unescape(client.post(page + "policy/", {**form, "preview": "yes"}).content.decode())
    assert "not published" in text
    assert "then rejected; it is not done" in text
    assert not EscalationPolicy.objects.exists()
    assert client.post(page + "policy/", form).status_code == 302
    levels = EscalationPolicy.objects.get().content["levels"]
    assert [(one["level"], one["targets"], one["minutes"]) for one in levels] == [
        (1, ["rhea"], 7),
        (3, ["role:admin"], 9),
    ]
    wrong = client.post(page + "policy/", {**form, "targets1": "nobody-here"})
    assert (wrong.status_code, "no active account called" in unescape(wrong.content.decode())) == (422, True)
    assert 'value="nobody-here"' in wrong.content.decode(), "what was written is there to be corrected"
    odd = {"zone": "Mars/Base", "open": "hours", "monday": "8 to 5", "holidays": "Christmas"}
    wrong = client.post(page + "calendar/", odd)
    assert (wrong.status_code, "Nothing was published." in wrong.content.decode()) == (422, True)
    assert all(
        one in wrong.content.decode() for one in ('value="Mars/Base"', 'value="8 to 5"', ">Christmas</textarea>")
    )
    posted = {"zone": "Europe/Vienna", "open": "hours", "monday": "08:00-17:00", "holidays": "2026-12-25 Christmas"}
    assert client.post(page + "calendar/", posted).status_code == 302
    assert publishing.calendar_of(team.pk) == {
        "zone": "Europe/Vienna",
        "hours": {"monday": ["08:00-17:00"]},
        "holidays": {"2026-12-25": "Christmas"},
    }
    assert "every admin" in unescape(client.get(page).content.decode())
