"""A question about a call from elsewhere that nobody answered: when its owner's wish to go on counts, and when not."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, Run, Step, Team, User
from agents.runs import elsewhere as runs
from agents.runs import overriding
from approvals.escalation import expiring
from approvals.models import Approval, ApprovalClock
from approvals.outside import silence, unused
from approvals.policies import loaded
from tests.approvals.outside import elsewhere
from tests.approvals.policies.rulebook import enforce

OPEN = '@id("open") permit(principal, action, resource);'
FORBIDDEN = OPEN + '@id("no-labels") forbid(principal, action == Cockpit::Action::"triage.label", resource);'
ASKED = OPEN + (
    '@id("labels-ask") @obligation("require_approval") @level("L1") '
    'forbid(principal, action == Cockpit::Action::"triage.label", resource) unless { context.approval_level >= 1 };'
)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    """What one test enforces is not in force in the next: versions are known per process."""
    loaded.forget()
    yield
    loaded.forget()


def unanswered(key: User, **changed: Any) -> Approval:
    """A label that a person was asked about, and its time is over."""
    approval = elsewhere.held(key, "label", {"text": "late"})
    Approval.objects.update(expires_at=timezone.now(), **changed)
    return approval


def asked_again(key: User, approval: Approval) -> tuple[str, str]:
    """What its agent is told."""
    ruling = elsewhere.ask(key, "label", {"text": "late"}, approval=approval.pk)
    return ruling.verdict, ruling.reason


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"level": 2}, "it takes L2"),
        ({"votes_needed": 2}, "it takes L1 by 2 people"),
        ({"zone": "red"}, "it is in the red zone"),
        ({"tier": 4}, "what is manual"),
        ({"reasons": [{"gate": "tier", "reason": "."}, {"gate": "policy", "reason": "."}]}, "policy asks for a person"),
    ],
)
def test_an_owners_wish_stands_below_whatever_else_asked(changed: Any, why: str, key: User) -> None:
    approval = unanswered(key, **changed)
    verdict, reason = asked_again(key, approval)
    assert (verdict, why in reason) == ("deny", True), reason
    assert Step.objects.get().state == "refused", "nothing keeps the session open"


def test_what_the_ladder_rejected_is_rejected(key: User) -> None:
    approval = elsewhere.held(key, "label", {"text": "late"})
    ladder, later = dict(approval.ladder or {}), timezone.now() - timedelta(days=1)
    ladder |= {"after_last": "reject", "calendar": None, "rungs": ladder["rungs"][:1]}
    ApprovalClock.objects.update(started_at=later)
    # The tick was late: by the time that somebody looked, the question was too old as well.
    Approval.objects.update(ladder=ladder, rung=0, rung_at=later, requested_at=later, expires_at=timezone.now())
    assert asked_again(key, approval)[0] == "deny"
    assert Step.objects.get().state == "refused"


def test_a_policy_published_meanwhile_stands_above_it(key: User) -> None:
    approval = unanswered(key)
    assert expiring.expire_overdue() == 1
    enforce(FORBIDDEN, cases=[{"name": "A label", "expect": "deny", "tool": "triage.label"}])
    verdict, reason = asked_again(key, approval)
    assert (verdict, "no-labels" in reason) == ("deny", True)
    approval.refresh_from_db()
    assert approval.executed == "not_yet"


def test_gates_that_want_more_than_silence_by_now_are_heeded(key: User) -> None:
    approval = unanswered(key)
    assert expiring.expire_overdue() == 1
    assert silence.objection_now(Approval.objects.get(pk=approval.pk)) == ""
    enforce(ASKED, cases=[{"name": "A label", "expect": "hold", "tool": "triage.label"}])
    assert asked_again(key, approval)[0] == "deny"


def test_a_tier_that_was_raised_to_manual_meanwhile_is_a_persons(triage: Agent, key: User, olga: User) -> None:
    approval = unanswered(key)
    assert expiring.expire_overdue() == 1
    raised = {"parameter": "tiers.triage.label", "value": "4", "expires_at": timezone.now() + timedelta(hours=1)}
    overriding.override(triage, by=olga, reason="Look at these.", request_id=uuid7(), **raised)
    assert asked_again(key, approval)[0] == "deny"


def test_it_is_good_for_a_time_and_then_its_session_may_end(key: User) -> None:
    approval = unanswered(key)
    assert expiring.expire_overdue() == 1
    assert unused.withdraw() == 0
    long_ago = timezone.now() - timedelta(hours=settings.APPROVAL_HOURS, seconds=1)
    Approval.objects.update(expires_at=long_ago)
    verdict, reason = asked_again(key, approval)
    assert (verdict, "could go on without until" in reason) == ("deny", True)
    assert (unused.withdraw(), unused.withdraw()) == (1, 0)
    Run.objects.update(changed_at=long_ago)
    assert runs.end_idle() == 1


def test_a_red_tool_cannot_be_published_to_go_on_unanswered(team: Team) -> None:
    with pytest.raises(errors.Invalid, match="cannot go on without one"):
        elsewhere.published(team, outside={"refund": {"tier": 3, "zone": "red", "fail_open": True}})
