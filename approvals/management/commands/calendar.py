"""`manage.py calendar`: publish when the people of a team are at work, and see what holds."""

import json
from pathlib import Path

from agents.management.nouns import NounCommand, account
from agents.people import teams
from agents.registry import bundles
from approvals.escalation import publishing
from approvals.escalation.models import BusinessCalendar


class Command(NounCommand):
    """Publish, list, show."""

    help = "Business calendars of teams: publish, list, show."

    def add_verbs(self) -> None:
        """Three verbs."""
        publish = self.add_verb("publish", self.publish)
        publish.add_argument("file", type=Path, help="the calendar's TOML file")
        publish.add_argument("--as", dest="by", metavar="USER", help="who publishes; the installation if left out")
        self.add_verb("list", self.list)
        show = self.add_verb("show", self.show)
        show.add_argument("team", metavar="TEAM", nargs="?", default="", help="its slug; every team if left out")

    def publish(self, *, file: Path, by: str | None) -> None:
        """Publish a TOML file: the clocks of questions that open from now on keep these hours."""
        actor = account(by, option="--as") if by else None
        made = publishing.publish_calendar(bundles.read(file), by=actor)
        self.say(f"The calendar of {made} is in force.")

    def list(self) -> None:
        """What is in force, by team."""
        rows = [
            [
                row.team.slug if row.team else "every team",
                str(row.version),
                row.content["zone"],
                f"{len(row.content['holidays'])} holidays",
            ]
            for row in BusinessCalendar.objects.in_force().select_related("team").order_by("team__slug")
        ]
        self.table(["TEAM", "VERSION", "ZONE", "HOLIDAYS"], rows, empty="Always: every hour of every day counts.")

    def show(self, *, team: str) -> None:
        """What holds for a team, as JSON."""
        content = publishing.calendar_of(teams.named(team).pk if team else None)
        self.say(json.dumps(content, indent=1) if content else "Always: every hour of every day counts.")
