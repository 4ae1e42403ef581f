"""`manage.py calendar`: publish when the people of a team are at work, and see what holds."""

from uuid import UUID

from agents.contracts import Json
from agents.models import User
from approvals.escalation import publishing
from approvals.escalation.models import BusinessCalendar
from approvals.management.in_force import InForceCommand, written


class Command(InForceCommand):
    """The hours that clocks of questions keep."""

    help = "Business calendars of teams: publish, list, show."
    noun, kind = "calendar", BusinessCalendar
    columns, none = ("ZONE", "HOLIDAYS"), "Always: every hour of every day counts."

    def published(self, content: Json, *, by: User | None) -> BusinessCalendar:
        """Another version."""
        return publishing.publish_calendar(content, by=by)

    def cells(self, row: BusinessCalendar) -> tuple[str, ...]:
        """Where, and how many days off."""
        return row.content["zone"], f"{len(row.content['holidays'])} holidays"

    def holding(self, team_id: UUID | None) -> tuple[str, ...]:
        """Its hours, or that all count."""
        content = publishing.calendar_of(team_id)
        return (written(content) if content else self.none,)
