"""The doors of calibration: how right an agent was with each tool, and the threshold that a program puts in force."""

from typing import Any

import pytest

from agents.models import Agent, AuditEntry, Team, User
from tests import factories
from tests.api import stage
from tests.approvals.learning import decided

NOTE = "test.note"


@pytest.fixture
def refunds(team: Team, rhea: User) -> Agent:
    """It was asked about one tool often and about another one rarely."""
    made: Agent = factories.agent("refunds")
    schemas = {decided.TOOL: {"writes": True}, NOTE: {"writes": True}, "test.echo": {"writes": False}}
    made.release = factories.release(
        made, tools=list(schemas), tool_schemas=schemas, thresholds={"confidence": 0.5, decided.TOOL: 0.9}
    )
    made.save(update_fields=["release"])
    decided.judged(made, [(0.8, "approved")] * 60 + [(0.7, "rejected")] * 10, by=rhea)
    decided.judged(made, [(0.6, "approved")] * 12, by=rhea, tool=NOTE)
    return made


def test_a_tool_is_told_with_its_own_threshold_or_that_of_all(refunds: Agent) -> None:
    watch = stage.token("watch", "viewer")
    own, other, every = (
        watch.get(f"/agents/refunds/calibration{tool}") for tool in (f"?tool={decided.TOOL}", f"?tool={NOTE}", "")
    )
    assert (own["threshold"], own["held_by"]) == (0.9, "thresholds.test.refund")
    assert (own["proposed"]["parameter"], own["proposed"]["value"]) == ("thresholds.test.refund", 0.71)
    assert own["proposed"]["share"]["of"] == 60
    assert (other["threshold"], other["held_by"]) == (0.5, "thresholds.confidence")
    assert other["proposed"] == every["proposed"]
    assert (every["proposed"]["parameter"], every["proposed"]["covers"]["of"]) == ("thresholds.confidence", 82)


def test_a_threshold_is_put_in_force_by_whoever_may_and_kept_with_what_it_rests_on(refunds: Agent) -> None:
    steer, govern = stage.token("steer", "operator"), stage.token("govern", "governance")
    ask = {"tool": decided.TOOL, "value": 0.71, "reason": "Right in all 60."}
    told = steer.refused("POST", "/agents/refunds/thresholds", ask, status=403, code="forbidden")
    assert "to show fewer acts to people than the release does" in told["message"]
    made = govern.post("/agents/refunds/thresholds", ask, status=201)
    assert (made["parameter"], made["before"], made["value"]) == ("thresholds.test.refund", 0.9, 0.71)
    assert govern.get(f"/agents/refunds/calibration?tool={decided.TOOL}")["threshold"] == 0.71
    kept = AuditEntry.objects.get(verb="override.made", outcome="done")
    assert (kept.reason, kept.detail["evidence"]) == (
        "Right in all 60.",
        {"days": 90, "right": 60, "of": 60, "said": 70},
    )


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"tool": "test.burn"}, 409, "test.burn is not among the tools of refunds as it is released now."),
        ({"tool": "test.echo"}, 409, "test.echo only reads; only what writes waits for being unsure."),
        ({"value": 2}, 422, "[thresholds] test.refund is 2; it should be less than or equal to 1."),
        ({"value": "nan"}, 422, "[thresholds] test.refund is 'nan'"),
        ({"reason": " "}, 422, "Say why you change thresholds.test.refund; the next person will ask."),
    ],
)
def test_a_threshold_that_would_hold_nothing_changes_nothing(
    refunds: Agent, change: dict[str, Any], status: int, told: str
) -> None:
    ask = {"tool": decided.TOOL, "value": 0.95, "reason": "It was wrong."} | change
    code = {409: "conflict", 422: "invalid"}[status]
    answer = stage.token("steer", "operator").refused(
        "POST", "/agents/refunds/thresholds", ask, status=status, code=code
    )
    assert told in answer["message"]
    assert not refunds.overrides.exists()
