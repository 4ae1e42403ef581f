"""`manage.py escalation`: publish who is asked when nobody answers, and see what holds."""

from uuid import UUID

from agents.contracts import Json
from agents.models import User
from approvals.escalation import publishing
from approvals.escalation.models import EscalationPolicy
from approvals.management.in_force import InForceCommand, written


class Command(InForceCommand):
    """The ladder that questions climb."""

    help = "Escalation policies of teams: publish, list, show."
    noun, kind = "escalation policy", EscalationPolicy
    columns, none = ("PUBLISHED (UTC)", "BY"), "The policy that is built in holds."

    def published(self, content: Json, *, by: User | None) -> EscalationPolicy:
        """Another version."""
        return publishing.publish_policy(content, by=by)

    def cells(self, row: EscalationPolicy) -> tuple[str, ...]:
        """Since when, and by whom."""
        return f"{row.published_at:%Y-%m-%d %H:%M}", row.published_by.username if row.published_by else "cockpit"

    def holding(self, team_id: UUID | None) -> tuple[str, ...]:
        """Its name and its ladder."""
        name, content = publishing.policy_of(team_id)
        return f"# {name}", written(content)
