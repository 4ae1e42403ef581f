"""What commands share whose noun is a file that a team publishes, each version in place of the one before."""

import json
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from agents.contracts import Json
from agents.management.nouns import NounCommand, account
from agents.models import User
from agents.people import teams
from agents.registry import bundles
from approvals.escalation.models import Published


class InForceCommand(NounCommand):
    """Publish, list, show. A noun says what it is called, how it is published, and what there is to see of it."""

    noun: ClassVar[str]
    kind: ClassVar[type[Published]]
    columns: ClassVar[tuple[str, ...]]
    none: ClassVar[str]

    def add_verbs(self) -> None:
        """Three verbs."""
        publish = self.add_verb("publish", self.publish)
        publish.add_argument("file", type=Path, help=f"the {self.noun}'s TOML file")
        publish.add_argument("--as", dest="by", metavar="USER", help="who publishes; the installation if left out")
        self.add_verb("list", self.list)
        show = self.add_verb("show", self.show)
        show.add_argument("team", metavar="TEAM", nargs="?", default="", help="its slug; every team if left out")

    def publish(self, *, file: Path, by: str | None) -> None:
        """Publish a TOML file: it holds for questions that open from now on."""
        actor = account(by, option="--as") if by else None
        self.say(f"The {self.noun} of {self.published(bundles.read(file), by=actor)} is in force.")

    def list(self) -> None:
        """What is in force, by team."""
        found = self.kind.objects.in_force().select_related("team", "published_by").order_by("team__slug")
        rows = [[row.team.slug if row.team else "every team", str(row.version), *self.cells(row)] for row in found]
        self.table(["TEAM", "VERSION", *self.columns], rows, empty=self.none)

    def show(self, *, team: str) -> None:
        """What holds for a team, as JSON."""
        self.say(*self.holding(teams.named(team).pk if team else None))

    def published(self, content: Json, *, by: User | None) -> Published:
        """Publish what a file says."""
        raise NotImplementedError

    def cells(self, row: Any) -> tuple[str, ...]:
        """A row of the list, behind team and version."""
        raise NotImplementedError

    def holding(self, team_id: UUID | None) -> tuple[str, ...]:
        """What holds for a team, in lines."""
        raise NotImplementedError


def written(content: Json) -> str:
    """A file's content as it is shown."""
    return json.dumps(content, indent=1)
