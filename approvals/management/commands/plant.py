"""`manage.py plant`: wrong requests, planted to see whether they are noticed."""

import json
from uuid import UUID

from uuid_utils.compat import uuid7

from agents import errors
from agents.management.nouns import NounCommand, account
from approvals.learning import planting
from approvals.learning.models import Plant
from approvals.models import Approval

SHOWN = 50


class Command(NounCommand):
    """Add, list."""

    help = "Planted requests: wrong ones that are never carried out, to see who notices."

    def add_verbs(self) -> None:
        """Two verbs."""
        add = self.add_verb("add", self.add)
        add.add_argument("approval", metavar="APPROVAL", help="the id of an earlier question to make another one like")
        add.add_argument("--arguments", required=True, metavar="JSON", help="what it asks for instead, whole")
        add.add_argument("--wrong", required=True, metavar="TEXT", help="what a reviewer should notice")
        add.add_argument("--as", required=True, dest="by", metavar="USER", help="who plants it: somebody of governance")
        self.add_verb("list", self.list)

    def add(self, *, approval: str, arguments: str, wrong: str, by: str) -> None:
        """Ask about a wrong act like an earlier one. It reveals itself once it is answered."""
        like = _question(approval)
        made = planting.plant(
            like, arguments=_object(arguments), wrong=wrong, by=account(by, option="--as"), request_id=uuid7()
        )
        self.say(f"Planted as approval {made.approval_id}. Nothing will be carried out, whatever is answered.")

    def list(self) -> None:
        """The last ones: whether they were caught."""
        rows = Plant.objects.select_related("approval__agent", "by").order_by("-planted_at")[:SHOWN]
        told = [
            [str(one.approval_id), one.approval.agent.slug, one.standing, one.by.username, one.wrong] for one in rows
        ]
        self.table(["APPROVAL", "AGENT", "STATE", "BY", "WRONG"], told, empty="Nothing is planted.")


def _question(text: str) -> Approval:
    try:
        ident = UUID(text)
    except ValueError:
        raise errors.Invalid(f"APPROVAL is {text!r}; it takes the id of a question, as its address has it.") from None
    found: Approval | None = Approval.objects.filter(pk=ident).select_related("run", "agent", "release", "team").first()
    if found is None:
        raise errors.Missing(f"There is no question {text}.")
    return found


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise errors.Invalid(f"--arguments is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise errors.Invalid('--arguments is a JSON object, such as {"amount": "920.00"}.')
    return found
