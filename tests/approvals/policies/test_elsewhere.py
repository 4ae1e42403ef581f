"""Rules about tools of agents elsewhere: named by agent and tool, with the arguments that a release describes."""

from typing import Any

import pytest

from agents import errors
from agents.contracts import Stance
from agents.models import Agent, Team, User
from approvals.models import Approval
from approvals.policies import loaded, speaking
from tests.approvals.outside import elsewhere
from tests.approvals.policies.rulebook import action, enforce, publish

pytestmark = pytest.mark.django_db
RULES = """
@id("open") permit(principal, action, resource);
@id("much-asks-two") @obligation("require_approval") @level("L2") @votes("2")
forbid(principal, action == Cockpit::Action::"triage.refund", resource)
    when { context.input.amount_minor > 10000 } unless { context.approval_level >= 2 };
@id("no-labels") @reason("Labels are for people.")
forbid(principal, action == Cockpit::Action::"triage.label", resource);
"""
CASES: list[Any] = [
    {
        "name": "184 asks two",
        "expect": "hold",
        "level": "L2",
        "tool": "triage.refund",
        "arguments": {"order": "1", "amount": 184},
    },
    {"name": "A label", "expect": "deny", "tool": "triage.label"},
]


@pytest.fixture
def triage(team: Team) -> Agent:
    """It runs elsewhere."""
    return elsewhere.published(team)


@pytest.fixture
def key(team: Team, triage: Agent) -> User:
    """The account it asks through."""
    return elsewhere.key(team)[0]


def test_a_rule_names_its_tool_and_its_argument(triage: Agent, key: User) -> None:
    number = enforce(RULES, cases=CASES).number
    held = elsewhere.held(key, arguments={"order": "4711", "amount": 184})
    assert (held.level, held.votes_needed) == (2, 2)
    assert any(one.get("rule") == "much-asks-two" for one in held.reasons)
    less = elsewhere.held(key, arguments={"order": "4711", "amount": 99.5})
    assert (less.level, less.votes_needed) == (1, 1)
    told = elsewhere.ask(key, "label", {})
    assert (told.verdict, told.reason) == ("deny", f"Policy {number} refuses it: no-labels: Labels are for people.")


def test_what_its_owner_did_not_describe_cannot_be_named(triage: Agent) -> None:
    with pytest.raises(errors.Invalid, match=r'unrecognized action .*"triage\.refnud"'):
        publish(RULES.replace("triage.refund", "triage.refnud"), cases=CASES)
    with pytest.raises(errors.Invalid, match=r"much-asks-two: attribute `input\.amuont_minor`"):
        publish(RULES.replace("amount_minor", "amuont_minor"), cases=CASES)
    with pytest.raises(errors.Invalid, match="attribute `quarantined`"):
        publish('@id("a") permit(principal, action, resource) when { principal.quarantined };', cases=CASES)


def test_the_zone_is_what_its_owner_says_or_what_follows_from_reading_and_writing(triage: Agent) -> None:
    zones = {name: one["zone"] for name, one in speaking.now()["tools"].items() if name.startswith("triage.")}
    assert zones == {
        "triage.refund": "red",
        "triage.label": "yellow",
        "triage.letter": "yellow",
        "triage.lookup": "green",
    }


def test_a_changed_release_is_refused_or_unlisted_until_the_files_are_published_again(
    team: Team, triage: Agent, key: User
) -> None:
    made = enforce(RULES, cases=CASES)
    text = {"type": "object", "properties": {"order": {"type": "string"}, "amount": {"type": "string"}, "why": True}}
    tools = {**elsewhere.TOOLS, "refund": {"tier": 3, "arguments": text}, "credit": {"tier": 1}}
    elsewhere.published(team, version="2", outside=tools)
    assert elsewhere.ask(key, "credit", {}).verdict == "allow", "unlisted: no rule of these names it"
    refused = elsewhere.ask(key, "refund", {"order": "1", "amount": "a lot"})
    assert (refused.verdict, Approval.objects.count()) == ("deny", 0)
    assert "could not judge this" in refused.reason
    assert made.surface != speaking.now(), "the page says so"
    assert set(speaking.now()["tools"]["triage.refund"]["input"]) == {"order", "amount"}


def test_no_team_keeps_all_of_them_from_publishing_by_the_name_of_a_tool(team: Team, olga: User) -> None:
    bundle = {"agent": {"slug": "model", "team": team.slug, "owner": olga.username}, "outside": {"call": {"tier": 1}}}
    elsewhere.published(team, **bundle)
    assert "model.call" not in speaking.now()["tools"]
    made = publish('@id("open") permit(principal, action, resource);', cases=[{**CASES[1], "expect": "allow"}])
    assert loaded.load(made).judge(action("model.call", arguments={}, tier=1), team=team.slug).stance == Stance.ALLOW
