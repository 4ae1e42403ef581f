"""How the clock and the ladder of a question look on the wire."""

from typing import Annotated, Literal, Self

from pydantic import WithJsonSchema

from agents.wire import Moment, Out, Words
from approvals.escalation.ladder import What
from approvals.escalation.reading import Course, Step, Timing
from approvals.models import Approval


class ClockOut(Out):
    """How much of its time a question has used, in seconds that count."""

    elapsed_s: float
    allowed_s: float
    remaining_s: float
    paused_since: Moment | None
    paused_because: Words
    is_breached: bool
    breach_at: Moment | None
    within_hours: bool
    opens_at: Moment | None

    @classmethod
    def of(cls, timing: Timing) -> Self:
        """From what is computed of it."""
        return cls.taken_from(
            timing,
            elapsed_s=round(timing.elapsed.total_seconds(), 3),
            allowed_s=timing.allowed.total_seconds(),
            remaining_s=round(timing.remaining.total_seconds(), 3),
            breach_at=timing.due_at,
        )


class RungOut(Out):
    """A rung of the ladder: when it was reached or would be, and who is asked: accounts, or `role:reviewer`."""

    place: Literal["past", "here", "coming"]
    level: int
    what: Annotated[What, WithJsonSchema({"type": "string", "enum": list(What)})]
    at: Moment | None
    targets: list[str]
    channels: list[str]

    @classmethod
    def of(cls, step: Step) -> Self:
        """From what is computed of it."""
        return cls.taken_from(step, targets=list(step.people), channels=list(step.channels))


class EscalationOut(Out):
    """Where a question stands on its ladder."""

    policy: str
    rung: int
    next_due_at: Moment | None
    acknowledged_by: str | None
    acknowledged_at: Moment | None
    rungs: list[RungOut]

    @classmethod
    def of(cls, approval: Approval, course: Course) -> Self | None:
        """None where there is no ladder."""
        if not course.steps:
            return None
        is_waiting = approval.is_open and approval.stopped_at is None
        return cls.taken_from(
            approval,
            policy=course.policy,
            next_due_at=approval.next_due_at if is_waiting else None,
            acknowledged_by=approval.acknowledged_by.username if approval.acknowledged_by else None,
            rungs=[RungOut.of(step) for step in course.steps],
        )
