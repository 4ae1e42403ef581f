"""What tests of clocks and escalation begin with: a policy, a question under it, and time that has passed."""

from datetime import timedelta
from typing import Any

from agents.models import Role, Team, User
from approvals.escalation import publishing
from approvals.models import Approval, ApprovalClock, EscalationPolicy
from tests import factories

MINUTE = timedelta(minutes=1)
LEVELS = [
    {"level": "L1", "targets": ["rhea"], "minutes": 10, "when": "not_acknowledged", "channels": ["in_app"]},
    {"level": "L2", "targets": ["role:admin"], "minutes": 20, "channels": ["email", "slack"]},
]


def policy(team: Team, **fields: Any) -> EscalationPolicy:
    """Rhea for ten minutes, then the administrators for twenty: ada."""
    if not User.objects.filter(username="ada").exists():
        factories.person("ada", Role.ADMIN, of=team)
    return publishing.publish_policy({"team": team.slug, "levels": LEVELS, **fields}, by=None)


def let_pass(approval: Approval, minutes: float) -> None:
    """As if it had been asked, and everything since had happened, so much earlier."""
    back = minutes * MINUTE
    row = Approval.objects.get(pk=approval.pk)
    moments = ("requested_at", "due_at", "rung_at", "next_due_at", "acknowledged_at", "stopped_at", "expires_at")
    moved = {name: getattr(row, name) - back for name in moments if getattr(row, name)}
    Approval.objects.filter(pk=approval.pk).update(**moved)
    for one in ApprovalClock.objects.filter(approval=approval):
        one.started_at -= back
        one.stopped_at = one.stopped_at and one.stopped_at - back
        one.save()


def now(approval: Approval) -> Approval:
    """As the database has it."""
    return Approval.objects.get(pk=approval.pk)
