"""`manage.py escalation`: publish who is asked when nobody answers, and see what holds."""

import json
from pathlib import Path

from agents.management.nouns import NounCommand, account
from agents.people import teams
from agents.registry import bundles
from approvals.escalation import publishing
from approvals.escalation.models import EscalationPolicy


class Command(NounCommand):
    """Publish, list, show."""

    help = "Escalation policies of teams: publish, list, show."

    def add_verbs(self) -> None:
        """Three verbs."""
        publish = self.add_verb("publish", self.publish)
        publish.add_argument("file", type=Path, help="the policy's TOML file")
        publish.add_argument("--as", dest="by", metavar="USER", help="who publishes; the installation if left out")
        self.add_verb("list", self.list)
        show = self.add_verb("show", self.show)
        show.add_argument("team", metavar="TEAM", nargs="?", default="", help="its slug; every team if left out")

    def publish(self, *, file: Path, by: str | None) -> None:
        """Publish a TOML file: questions that open from now on climb this ladder."""
        actor = account(by, option="--as") if by else None
        made = publishing.publish_policy(bundles.read(file), by=actor)
        self.say(f"The escalation policy of {made} is in force.")

    def list(self) -> None:
        """What is in force, by team."""
        rows = [
            [
                row.team.slug if row.team else "every team",
                str(row.version),
                f"{row.published_at:%Y-%m-%d %H:%M}",
                row.published_by.username if row.published_by else "cockpit",
            ]
            for row in EscalationPolicy.objects.in_force().select_related("team", "published_by").order_by("team__slug")
        ]
        self.table(["TEAM", "VERSION", "PUBLISHED (UTC)", "BY"], rows, empty="The policy that is built in holds.")

    def show(self, *, team: str) -> None:
        """What holds for a team, as JSON."""
        name, content = publishing.policy_of(teams.named(team).pk if team else None)
        self.say(f"# {name}", json.dumps(content, indent=1))
