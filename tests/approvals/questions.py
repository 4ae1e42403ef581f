"""Ways to come to a question: a run that waits, a step that a gate holds. Plain functions; the engine's own signals."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from uuid_utils.compat import uuid7

from agents import signals
from agents.contracts import Action, Answer, Confidence, Json, Source
from agents.models import Agent, Run, Step, StepPayload, User
from approvals.decisions import decide
from approvals.gates import TierGate
from approvals.models import Approval, Decision
from tests import factories, toolbox

assert toolbox  # its tools are in the catalogue
REFUND: Json = {"order": "4711", "amount": "184.00"}


def run(by: Agent | None = None, **fields: Any) -> Run:
    """A run of an agent that waits for a person."""
    worker = by or Agent.objects.filter(slug="refunds").first() or factories.agent("refunds")
    assert worker.release
    made: Run = Run.objects.create(
        **{
            "agent": worker,
            "release": worker.release,
            "team": worker.team,
            "objective": "Ticket 882: the machine of order 4711 arrived broken.",
            "state": Run.State.WAITING,
            "waiting_for": "approval",
            **fields,
        }
    )
    return made


def action(of: Run | None = None, *, seq: int = 2, arguments: Json | None = None, **fields: Any) -> Action:
    """The act that is judged: a refund at tier 3, unless the test says otherwise."""
    owner = of or run()
    plain = Action(
        run_id=owner.pk,
        seq=seq,
        kind="tool",
        name="test.refund",
        arguments=REFUND if arguments is None else arguments,
        agent_id=owner.agent_id,
        agent=owner.agent.slug,
        release_id=owner.release_id,
        release=owner.release.version,
        team_id=owner.team_id,
        environment=owner.environment,
        tier=3,
        writes=True,
        confidence=Confidence(0.62, Source.SELF_REPORTED),
        says="Refund €184.00 to Café Lindenhof",
        preview=({"what": "order 4711 paid", "before": "€184.00", "after": "€0.00"},),
    )
    return replace(plain, **fields)


def store(step: Action, *, state: str = Step.State.HELD) -> Step:
    """What the runner writes of a step that cannot go on."""
    StepPayload.objects.create(run_id=step.run_id, seq=step.seq, input={"arguments": step.arguments})
    made: Step = Step.objects.create(
        run_id=step.run_id,
        seq=step.seq,
        turn=step.seq,
        agent_id=step.agent_id,
        kind=step.kind,
        name=step.name,
        state=state,
        tier=step.tier,
        says=step.says,
        writes=step.writes,
    )
    return made


def held(of: Run | None = None, **fields: Any) -> Approval:
    """A held step and the question about it, as the runner brings them about."""
    step = action(of, **fields)
    with transaction.atomic():
        store(step)
        signals.step_held.send(Step, action=step, verdict=TierGate().ask(step))
    return latest(step)


def doubted(of: Run | None = None, **fields: Any) -> Approval:
    """A step of which nobody knows whether it happened, and the question about it."""
    step = action(of, **fields)
    with transaction.atomic():
        store(step, state=Step.State.IN_DOUBT)
        signals.step_doubted.send(Step, action=step)
    return latest(step)


def latest(step: Action) -> Approval:
    """The last question about a step."""
    found: Approval = Approval.objects.of_step(step.run_id, step.seq)[0]
    return found


def settle(approval: Approval, *, by: User, answer: str = "approve", **fields: Any) -> Decision:
    """Decide with what every decision needs, so that a test names only what matters to it."""
    given: dict[str, Any] = {"reason": "The photo shows it.", "request_id": uuid7(), **fields}
    return decide(approval, answer=answer, by=by, **given)


def step_of(approval: Approval) -> Step:
    """The step a question is about, as it is now."""
    found: Step = Step.objects.get(run_id=approval.run_id, seq=approval.seq)
    return found


def as_dispatched(approval: Approval, **changes: Any) -> Action:
    """The action as the driver hands it to `admit` once a person has answered: planned anew, with the stored answer."""
    stored = step_of(approval).answer
    assert stored is not None
    answer = Answer(**{**stored, "by_id": UUID(stored["by_id"]), "approval_id": UUID(stored["approval_id"])})
    planned = action(approval.run, seq=approval.seq, tier=approval.tier)
    arguments = planned.arguments if answer.arguments is None else answer.arguments
    return replace(planned, **{"arguments": arguments, "answer": answer, **changes})
