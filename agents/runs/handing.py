"""Handing a model's turn to a person: no model of the chain answered, and the release names a person as the last."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents import signals
from agents.audit.transactions import CurrentXidNumber
from agents.contracts import Answer, AskModel, Json, Stance, Tier, Verdict
from agents.models import Step, StepAttempt
from agents.runs import hotpath, steps
from agents.runs.lease import Claim, Held
from agents.runs.postponing import kept
from agents.runs.steps import Planned, Result

CHAIN, PERSON = "chain", "person"
LONGEST = 1000


def hand_over(claim: Claim, step: Planned, failure: Result) -> None:
    """Hold the step until a person has answered in the model's place; what the failed tries cost is booked."""
    assert isinstance(step.ask, AskModel)
    asked = last_words(step.ask)
    says = f"Answer in the place of {step.action.name}: “{hotpath.text(asked, most=LONGEST)}”"
    action = replace(step.action, tier=int(Tier.MANUAL), says=says, arguments={"asked": asked})
    verdict = Verdict(Stance.HOLD, CHAIN, hotpath.text(failure.error))
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        shown = {"says": says, "gate": verdict.gate, "gate_reason": verdict.reason, "tier": action.tier}
        unbegun = {"state": Step.State.HELD, "started_at": None, "due_at": None, "xid": CurrentXidNumber()}
        Step.objects.filter(run_id=claim.run_id, seq=step.seq).update(**shown, **unbegun)
        for call in failure.calls:
            steps.book(claim, call)
        StepAttempt.objects.bulk_create([kept(claim, step, failure, None)], ignore_conflicts=True)
        signals.step_held.send(Planned, action=action, verdict=verdict)
    steps.remember(claim, step, "held", None, "")
    claim.open[step.seq] = Held("held", step.attempt, None)


def last_words(ask: AskModel) -> str:
    """What the model was to answer to: the text, or what the tools returned, of the last message."""
    parts = ask.messages[-1].get("parts", ()) if ask.messages else ()
    said = [str(part.get("content") or part.get("response") or "") for part in parts]
    return "\n".join(filter(None, said))


def in_place_of_model(answer: Answer) -> Result:
    """What a person said, as the model's message."""
    given = answer.outcome
    words = given.get("outcome", given) if isinstance(given, Mapping) else given
    text = words if isinstance(words, str) else str(hotpath.to_json(words))
    parts: list[Json] = [{"type": "text", "content": text}]
    message: dict[str, Any] = {"role": "assistant", "parts": parts, "finish_reason": "stop"}
    output = {"message": message, "confidences": [], "response_model": "", "attempts": []}
    reason = f"Answered by {answer.by_name}. {answer.reason}".strip()
    return Result("done", output, provider=PERSON, model=answer.by_name, gate_reason=reason)
