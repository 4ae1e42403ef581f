"""What pages say of an agent is said of its release as it holds now: earned, changed for a time, and all of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.contracts import Stance
from agents.models import Agent, Autonomy, Team, Tool, ToolGrant, User
from agents.runs import overriding
from agents.tools.people import ASK_PERSON
from approvals.policies import escalating, permissions, supposing
from tests import factories
from tests.approvals.policies.rulebook import enforce

ALONE = "It never asks a person: no tool of tier 3 or 4 or of high risk, no threshold and no policy makes it ask."


@pytest.fixture
def payer(team: Team) -> Agent:
    """It refunds at tier 3 and asks a model."""
    return _payer(team, "test.refund", tiers={"test.refund": 3})


def _payer(team: Team, *tools: str, **bundle: Any) -> Agent:
    made: Agent = factories.agent("payer", of=team)
    made.release = factories.release(made, **{"tools": list(tools), **bundle})
    made.save(update_fields=["release"])
    for name in tools:
        tier, writes = (3, True) if name == "test.refund" else (4, False)
        fields: dict[str, Any] = {"description": name, "schema": {}, "writes": writes, "tier": tier}
        tool, _ = Tool.objects.update_or_create(name=name, defaults=fields)
        ToolGrant.objects.create(agent=made, tool=tool)
    return made


def said(agent: Agent) -> tuple[str, int | None, Stance]:
    """The sentence, the tier in the matrix, and what an act that somebody makes up comes to."""
    (row,) = [one for one in permissions.matrix([agent]) if one.name == "test.refund"]
    supposed = {"arguments": {"order": "4711", "amount": "184.00"}, "confidence": 0.9}
    made_up = supposing.answer(agent, supposing.tools(agent)["test.refund"], supposed, None)
    assert made_up.stance == row.stance
    return escalating.sentence(agent), row.tier, row.stance


def test_a_milder_tier_that_was_earned_counts(payer: Agent, governor: User) -> None:
    given: dict[str, Any] = {"granted_by": governor, "reason": "It has shown it.", "request_id": uuid7()}
    earned = Autonomy.objects.create(agent=payer, tool="test.refund", was=3, tier=2, **given)
    assert said(payer) == (ALONE, 2, Stance.ALLOW)
    Autonomy.objects.filter(pk=earned.pk).update(ended_at=timezone.now())
    assert said(payer)[1:] == (3, Stance.HOLD)


def test_what_is_changed_for_a_time_counts(payer: Agent, olga: User) -> None:
    lasts: dict[str, Any] = {"by": olga, "reason": "A bad day.", "expires_at": timezone.now() + timedelta(hours=1)}
    overriding.override(payer, parameter="tiers.test.refund", value=4, request_id=uuid7(), **lasts)
    overriding.override(payer, parameter="thresholds.confidence", value=0.95, request_id=uuid7(), **lasts)
    assert said(payer) == (
        "A person does test.refund by hand (tier 4) and a person looks before it writes anything of which it is not "
        "95% sure (raised for a time); everything else it does alone.",
        4,
        Stance.HOLD,
    )


def test_a_threshold_raised_for_all_tools_is_what_pages_say_of_a_tool_with_one_of_its_own(
    team: Team, olga: User
) -> None:
    own = {"confidence": 0.5, "test.refund": 0.7}
    agent = _payer(team, "test.refund", tiers={"test.refund": 2}, thresholds=own)
    assert escalating.sentence(agent).startswith("A person looks at test.refund where it is not 70% sure;")
    lasts: dict[str, Any] = {"by": olga, "reason": "A bad day.", "expires_at": timezone.now() + timedelta(hours=1)}
    overriding.override(agent, parameter="thresholds.confidence", value=0.95, request_id=uuid7(), **lasts)
    assert escalating.sentence(agent).startswith(
        "A person looks before it writes anything of which it is not 95% sure (raised for a time);"
    )
    which = "by the threshold of all tools, raised for a time and stricter than the tool's own, 0.7."
    (row,) = [one for one in permissions.matrix([agent]) if one.name == "test.refund"]
    assert (row.stance, row.why.endswith(which)) == (Stance.HOLD, True)
    supposed = {"arguments": {"order": "4711", "amount": "184.00"}, "confidence": 0.9}
    made_up = supposing.answer(agent, supposing.tools(agent)["test.refund"], supposed, None)
    assert (made_up.stance, made_up.tier.reason.endswith(which)) == (Stance.HOLD, True)


def test_asking_people_is_no_work_of_theirs(team: Team) -> None:
    sentence = escalating.sentence(_payer(team, ASK_PERSON))
    assert sentence == "A person answers what it asks; everything else it does alone."


def test_rules_about_models_and_delegation_are_named(team: Team) -> None:
    number = enforce(
        """
        @id("all") permit(principal, action, resource);
        @id("dear") @reason("Models cost money.") @obligation("require_approval")
        forbid(principal, action == Cockpit::Action::"model.call", resource) unless { context.approval_level >= 1 };
        @id("others") @reason("Others are watched.") @obligation("require_approval")
        forbid(principal, action == Cockpit::Action::"delegate", resource) unless { context.approval_level >= 1 };
        """,
        cases=[{"name": "A note", "expect": "allow", "tool": "test.note", "arguments": {"text": "hello"}}],
    ).number
    agent = _payer(team, delegates=["carrier", "desk"], tiers={"delegate.desk": 3})
    assert escalating.sentence(agent) == (
        f"A person approves every delegate.desk (tier 3) and policy {number} asks about delegate.carrier (Others are "
        "watched), delegate.desk (Others are watched) and questions to its models (Models cost money); everything else "
        "it does alone."
    )
