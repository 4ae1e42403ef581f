"""How runs, steps and controls look from outside. Apart from the doors because several of them give the same thing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ninja import Schema

from agents.models import Agent, Control, Run, Step, StepPayload, Touch
from agents.registry.api import is_simulated
from agents.wire import ConfidenceOut, Moment, Money, or_null


class ControlOut(Schema):
    """What somebody asked of a run or an agent, and whether it has happened."""

    id: UUID
    verb: Control.Verb
    run: UUID | None
    agent: str | None
    state: Run.State | None
    by: str | None
    reason: str | None
    request_id: UUID
    asked_at: Moment
    obeyed_at: Moment | None

    @classmethod
    def of(cls, control: Control, *, run: Run | None = None, agent: Agent | None = None) -> Self:
        """With the state its run is in now."""
        return cls(
            id=control.pk,
            verb=Control.Verb(control.verb),
            run=run and run.pk,
            agent=agent and agent.slug,
            state=run and Run.State(run.state),
            by=control.by.username if control.by else None,
            reason=or_null(control.reason),
            request_id=control.request_id,
            asked_at=control.asked_at,
            obeyed_at=control.obeyed_at,
        )


class RunItem(Schema):
    """A run in a list."""

    id: UUID
    agent: str
    release: str
    team: str
    environment: Agent.Environment
    simulated: bool
    objective: str
    state: Run.State
    asked: str | None
    waiting_for: str | None
    queue: Run.Queue
    started_by: str | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    deadline_at: Moment | None
    changed_at: Moment
    steps_done: int
    tokens_in: int | None
    tokens_out: int | None
    cost: Money | None
    unpriced: int
    failure_class: str | None
    failure: str | None

    @classmethod
    def of(cls, run: Any, **more: Any) -> Self:
        """From a run annotated with `chain` and `is_untold`."""
        copied = ("id", "objective", "environment", "state", "queue", "steps_done", "unpriced")
        times = ("created_at", "started_at", "finished_at", "deadline_at", "changed_at")
        texts = ("asked", "waiting_for", "failure_class", "failure")
        return cls(
            **{name: getattr(run, name) for name in (*copied, *times)},
            **{name: or_null(getattr(run, name)) for name in texts},
            agent=run.agent.slug,
            release=run.release.version,
            team=run.team.slug,
            simulated=is_simulated(run.chain),
            started_by=run.started_by.username if run.started_by else None,
            tokens_in=None if run.is_untold else run.tokens_in,
            tokens_out=None if run.is_untold else run.tokens_out,
            cost=None if run.unpriced and not run.cost else run.cost,
            **more,
        )


class RunOut(RunItem):
    """One run, whole."""

    input: Any
    result: Any
    last_control: ControlOut | None

    @classmethod
    def whole(cls, run: Any, *, last: Control | None) -> Self:
        """With what went in, what came out, and the last thing a person asked of it."""
        return cls.of(run, input=run.input, result=run.result, last_control=last and ControlOut.of(last, run=run))


class TouchOut(Schema):
    """A record outside that an act touches."""

    kind: str
    record: str
    customer: str | None
    amount: Money | None
    currency: str | None
    undoable_until: Moment | None

    @classmethod
    def of(cls, touch: Touch) -> Self:
        """From its row."""
        return cls(
            kind=touch.kind,
            record=touch.record,
            customer=or_null(touch.customer),
            amount=touch.amount,
            currency=or_null(touch.currency),
            undoable_until=touch.undoable_until,
        )


class AnswerOut(Schema):
    """What a person said about a held or doubted step."""

    kind: str
    by: str
    reason: str | None
    arguments: dict[str, Any] | None
    outcome: Any
    approval: UUID | None

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """From the answer as the step keeps it."""
        return cls(
            kind=stored["kind"],
            by=stored["by_name"],
            reason=or_null(stored.get("reason", "")),
            arguments=stored.get("arguments"),
            outcome=stored.get("outcome"),
            approval=stored.get("approval_id"),
        )


class StepOut(Schema):
    """One thing a run did."""

    seq: int
    turn: int
    kind: Step.Kind
    name: str
    state: Step.State
    attempt: int
    says: str | None
    tier: int | None
    writes: bool
    simulated: bool
    confidence: ConfidenceOut
    gate: str | None
    gate_reason: str | None
    answer: AnswerOut | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    provider: str | None
    model: str | None
    tokens_in: int | None
    tokens_out: int | None
    cache_read: int | None
    cache_write: int | None
    cost: Money | None
    cost_kind: str | None
    error_class: str | None
    error: str | None
    input: Any = None
    output: Any = None
    touches: list[TouchOut]

    @classmethod
    def of(cls, step: Step, *, payload: StepPayload | None, touches: Sequence[Touch]) -> Self:
        """A step with what went in and out, if that was asked for, and what it touched."""
        copied = ("seq", "turn", "kind", "name", "state", "attempt", "tier", "writes", "simulated", "cost")
        times = ("created_at", "started_at", "finished_at")
        tokens = ("tokens_in", "tokens_out", "cache_read", "cache_write")
        texts = ("says", "gate", "gate_reason", "provider", "model", "cost_kind", "error_class", "error")
        return cls(
            **{name: getattr(step, name) for name in (*copied, *times, *tokens)},
            **{name: or_null(getattr(step, name)) for name in texts},
            confidence=ConfidenceOut.of(step.confidence, step.confidence_source),
            answer=AnswerOut.of(step.answer) if step.answer else None,
            input=payload and payload.input,
            output=payload and payload.output,
            touches=[TouchOut.of(touch) for touch in touches],
        )


def touches_by_seq(run_id: UUID, numbers: Sequence[int]) -> dict[int, list[Touch]]:
    """What these steps of a run touched."""
    found: dict[int, list[Touch]] = {}
    for touch in Touch.objects.filter(run=run_id, seq__in=numbers).order_by("pk"):
        found.setdefault(touch.seq, []).append(touch)
    return found


def earliest_id(at: datetime) -> UUID:
    """The smallest UUIDv7 of a moment: rows made then or later have a greater one (RFC 9562, section 5.7)."""
    milliseconds = max(int(at.timestamp() * 1000), 0)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62))
