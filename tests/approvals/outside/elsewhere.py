"""An agent that runs elsewhere, as its owner publishes it, and ways to ask for it. Plain functions."""

from typing import Any

from uuid_utils.compat import uuid7

from agents.models import Agent, Role, Team, User
from agents.people import accounts
from agents.registry import publishing
from approvals.models import Approval
from approvals.outside import gating
from approvals.outside.calls import Call
from approvals.outside.rulings import Ruling
from tests import factories

SCHEMA = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "amount": {"type": "number", "exclusiveMinimum": 0}},
    "required": ["order", "amount"],
    "additionalProperties": False,
}
TOOLS: dict[str, Any] = {
    "refund": {"tier": 3, "zone": "red", "says": "Refund {amount} of order {order}", "arguments": SCHEMA},
    "lookup": {"tier": 1, "writes": False},
    "label": {"tier": 3, "answer_within_minutes": 60, "fail_open": True},
    "letter": {"tier": 4},
}
REFUND = {"order": "4711", "amount": 184}


def published(team: Team, *, version: str = "1", **changes: Any) -> Agent:
    """The agent `triage`, with four tools."""
    owner = User.objects.filter(username="otto").first() or factories.person("otto", Role.GOVERNANCE, of=team)
    bundle = {
        "version": version,
        "program": "outside",
        "agent": {"slug": "triage", "team": team.slug, "owner": owner.username},
        "outside": TOOLS,
        **changes,
    }
    return publishing.publish(bundle, by=None).agent


def key(team: Team | None, name: str = "triage-key", **more: Any) -> tuple[User, str]:
    """An account for the agent, and its token."""
    token, plain = accounts.create_token(name, role=Role.AGENT, team=team, by=None, **{"owner": None, **more})
    return token.user, plain


def ask(by: User, tool: str = "refund", arguments: Any = None, **more: Any) -> Ruling:
    """Ask the gate for `triage`."""
    request_id = more.pop("request_id", None) or uuid7()
    agent = Agent.objects.select_related("team", "release", "frozen_by").get(slug="triage")
    call = Call(tool, REFUND if arguments is None else arguments, **more)
    return gating.ask(agent, call, by=by, request_id=request_id)


def held(by: User, tool: str = "refund", arguments: Any = None, **more: Any) -> Approval:
    """A call that a person is asked about."""
    approval = ask(by, tool, arguments, **more).approval
    assert approval is not None
    return approval
