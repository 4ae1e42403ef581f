"""Many decisions at once, as rows: what calibration and autonomy count."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent, Run, Step, User
from approvals.models import Approval, Decision

TOOL = "test.refund"


def judged(
    agent: Agent,
    how: Iterable[tuple[float | None, str]],
    *,
    by: User,
    tool: str = TOOL,
    ago: timedelta = timedelta(hours=1),
    runs: int = 1,
    **fields: Any,
) -> list[Approval]:
    """One closed question for each (confidence, state), spread over so many runs, decided a while ago."""
    at = timezone.now() - ago
    made = [_run(agent, at) for _ in range(runs)]
    rows = [_approval(made[n % runs], n, said, state, tool, at, fields) for n, (said, state) in enumerate(how)]
    Approval.objects.bulk_create(rows)
    answers = {"approved": "approve", "edited": "edit", "rejected": "reject"}
    decisions = [
        Decision(approval=one, by=by, answer=answers[one.state], request_id=uuid7(), at=at, seconds=30) for one in rows
    ]
    Decision.objects.bulk_create(decisions)
    return rows


def _run(agent: Agent, at: datetime) -> Run:
    assert agent.release
    made: Run = Run.objects.create(
        agent=agent,
        release=agent.release,
        team=agent.team,
        objective="Ticket 882.",
        state=Run.State.COMPLETED,
        created_at=at,
        finished_at=at,
    )
    return made


def _approval(
    run: Run, number: int, said: float | None, state: str, tool: str, at: datetime, fields: dict[str, Any]
) -> Approval:
    values: dict[str, Any] = {
        "run": run,
        "seq": number + 1,
        "agent": run.agent,
        "release": run.release,
        "team": run.team,
        "state": state,
        "tier": 3,
        "tool": tool,
        "bound": {"kind": "tool"},
        "digest": "0" * 64,
        "confidence": said,
        "confidence_source": "unknown" if said is None else "self_reported",
        "requested_at": at - timedelta(seconds=30),
        "decided_at": at,
    }
    return Approval(**values | fields)


def take_back(approval: Approval, **fields: Any) -> Step:
    """What the engine stores when an act is compensated, and somebody has said that it shall be."""
    made: Step = Step.objects.create(
        run=approval.run,
        seq=approval.seq + 1000,
        turn=approval.seq + 1000,
        agent_id=approval.agent_id,
        kind=Step.Kind.TOOL,
        name="test.recharge",
        state=Step.State.DONE,
        compensates=approval.seq,
        **{"answer": {"kind": "approved"}} | fields,
    )
    return made


def alone(agent: Agent, confidence: float | None = 0.9, *, tool: str = TOOL, **fields: Any) -> Approval:
    """An act that the agent did without asking anybody, and the sample about it, which is not stored: `save` it where
    somebody is to look at the act, and not where nobody does."""
    run = _run(agent, timezone.now())
    values: dict[str, Any] = {"tier": 2, "writes": True, "confidence": confidence, "simulated": False, **fields}
    Step.objects.create(
        run=run,
        seq=1,
        turn=1,
        agent_id=agent.pk,
        kind=Step.Kind.TOOL,
        name=tool,
        state=Step.State.DONE,
        **values,
    )
    asked = {"kind": Approval.Kind.SAMPLE, "executed": "executed", "bound": {}, "tier": values["tier"]}
    return _approval(run, 0, confidence, "open", tool, timezone.now(), asked | {"decided_at": None})
