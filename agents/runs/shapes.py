"""How runs, steps and controls look from outside. Apart from the doors because several of them give the same thing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from agents.models import Agent, Control, Run, Step, StepAttempt, StepPayload, Touch
from agents.registry.api import Environment, is_simulated
from agents.runs import compensating
from agents.wire import ConfidenceOut, Moment, Money, Out, Words, one_of

RunState = Annotated[Run.State, one_of(Run.State)]
Queue = Annotated[Run.Queue, one_of(Run.Queue)]
StepState = Annotated[Step.State, one_of(Step.State)]
StepKind = Annotated[Step.Kind, one_of(Step.Kind)]
Verb = Annotated[Control.Verb, one_of(Control.Verb)]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ControlOut(Out):
    """What somebody asked of a run or an agent, and whether it has happened."""

    id: UUID
    verb: Verb
    run: UUID | None
    agent: str | None
    state: RunState | None
    by: str | None
    reason: Words
    request_id: UUID
    asked_at: Moment
    obeyed_at: Moment | None

    @classmethod
    def of(cls, control: Control, *, run: Run | None = None, agent: Agent | None = None) -> Self:
        """With the state its run is in now."""
        return cls.taken_from(
            control,
            run=run.pk if run else None,
            agent=agent.slug if agent else None,
            state=run.state if run else None,
            by=control.by.username if control.by else None,
        )


class RunItem(Out):
    """A run in a list."""

    id: UUID
    agent: str
    release: str
    team: str
    environment: Environment
    simulated: bool
    objective: str
    state: RunState
    asked: Words
    waits: Words
    waiting_for: Words
    waiting_since: Moment | None
    queue: Queue
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
    parent: UUID | None
    parent_seq: int | None
    cost_below: Money
    failure_class: Words
    failure: Words

    @classmethod
    def of(cls, run: Any, **more: Any) -> Self:
        """From a run annotated with `chain`, `is_untold` and `waiting_since`."""
        return cls.taken_from(
            run,
            agent=run.agent.slug,
            release=run.release.version,
            team=run.team.slug,
            parent=run.parent_id,
            simulated=is_simulated(run.chain),
            started_by=run.started_by.username if run.started_by else None,
            tokens_in=None if run.is_untold else run.tokens_in,
            tokens_out=None if run.is_untold else run.tokens_out,
            cost=run.known_cost,
            **more,
        )


class EndingOut(Out):
    """How a run ends that takes its acts back first, and how far that has come."""

    state: RunState
    failure_class: Words
    failure: Words
    taken_back: int
    left: int

    @classmethod
    def of(cls, run: Run) -> Self | None:
        """None for a run that takes nothing back."""
        if run.ending is None:
            return None
        tally, kept = compensating.tally(run), {key: run.ending[key] for key in ("state", "failure_class", "failure")}
        return cls(**kept, taken_back=tally.taken_back, left=tally.left)


class QuestionOut(Out):
    """A decision about the run itself that a person is asked for."""

    kind: str
    difference: list[str]
    lines: Words
    at: str


class RunOut(RunItem):
    """One run, whole."""

    input: Any
    result: Any
    ending: EndingOut | None
    question: QuestionOut | None
    last_control: ControlOut | None

    @classmethod
    def whole(cls, run: Any, *, last: Control | None) -> Self:
        """With what went in, what came out, how it ends, and the last thing a person asked of it."""
        last_control = last and ControlOut.of(last, run=run)
        ending = EndingOut.of(run)
        question = QuestionOut(**run.question) if run.question and not run.is_ended else None
        more = {"ending": ending, "question": question, "last_control": last_control}
        return cls.of(run, input=run.input, result=run.result, **more)


class TouchOut(Out):
    """A record outside that an act touches."""

    kind: str
    record: str
    customer: Words
    amount: Money | None
    currency: Words
    undoable_until: Moment | None


class AnswerOut(Out):
    """What a person said about a held or doubted step."""

    kind: str
    by: str
    reason: Words
    arguments: dict[str, Any] | None
    outcome: Any
    approval: UUID | None

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """From the answer as the step keeps it."""
        return cls(
            kind=stored["kind"],
            by=stored["by_name"],
            reason=stored.get("reason"),
            arguments=stored.get("arguments"),
            outcome=stored.get("outcome"),
            approval=stored.get("approval_id"),
        )


class TryOut(Out):
    """A try at a step that came to nothing."""

    number: int
    started_at: Moment
    finished_at: Moment
    error_class: Words
    error: Words
    provider: Words
    model: Words
    cost: Money | None
    due_at: Moment | None


class StepOut(Out):
    """One thing a run did."""

    seq: int
    turn: int
    kind: StepKind
    name: str
    state: StepState
    attempt: int
    says: Words
    tier: int | None
    writes: bool
    simulated: bool
    confidence: ConfidenceOut
    gate: Words
    gate_reason: Words
    answer: AnswerOut | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    provider: Words
    model: Words
    tokens_in: int | None
    tokens_out: int | None
    cache_read: int | None
    cache_write: int | None
    cost: Money | None
    cost_kind: Words
    error_class: Words
    error: Words
    in_force: dict[str, Any] | None
    compensates: int | None
    taken_back_by: int | None
    input: Any = None
    output: Any = None
    touches: list[TouchOut]
    due_at: Moment | None
    tries: list[TryOut]

    @classmethod
    def of(
        cls,
        step: Step,
        *,
        payload: StepPayload | None,
        touches: Sequence[Touch],
        tries: Sequence[StepAttempt],
        taken_back_by: int | None,
    ) -> Self:
        """A step with what went in and out, if that was asked for, what it touched, its failed tries, and what took it
        back."""
        return cls.taken_from(
            step,
            taken_back_by=taken_back_by,
            confidence=ConfidenceOut.of(step),
            answer=AnswerOut.of(step.answer) if step.answer and step.kind != Step.Kind.DELEGATE else None,
            input=payload.input if payload else None,
            output=payload.output if payload else None,
            touches=[TouchOut.taken_from(touch) for touch in touches],
            tries=[TryOut.taken_from(one) for one in tries],
        )


def touches_by_seq(run_id: UUID, numbers: Sequence[int]) -> dict[int, list[Touch]]:
    """What these steps of a run touched."""
    found: dict[int, list[Touch]] = {}
    for touch in Touch.objects.filter(run=run_id, seq__in=numbers).order_by("pk"):
        found.setdefault(touch.seq, []).append(touch)
    return found


def tries_by_seq(run_id: UUID, numbers: Sequence[int]) -> dict[int, list[StepAttempt]]:
    """The tries of these steps that came to nothing."""
    found: dict[int, list[StepAttempt]] = {}
    for one in StepAttempt.objects.filter(run=run_id, seq__in=numbers).order_by("seq", "number"):
        found.setdefault(one.seq, []).append(one)
    return found


def earliest_id(at: datetime) -> UUID:
    """The smallest UUIDv7 of a moment: rows made then or later have a greater one (RFC 9562, section 5.7)."""
    milliseconds = max((at - EPOCH) // timedelta(milliseconds=1), 0)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62))
