"""Which models were asked before the one that answered, why they did not, and what that may have cost.

A step keeps each of these tries beside its answer: written by `kept`, told to people by `of` and `told`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from agents.contracts import BilledCall, Json, ModelAttempt
from agents.models import Step, StepPayload
from agents.registry.chains import CACHED, PERSON

LEFT_ALONE = "breaker_open"


def kept(attempts: Sequence[ModelAttempt], billed: Iterable[tuple[int, BilledCall]] = ()) -> list[Json]:
    """The tries of one question that came to nothing, as a step keeps them. `billed` are those that may be charged
    for, by their place among all; the others cost nothing."""
    prices = {place: call.price for place, call in billed}
    return [
        {
            "provider": one.provider,
            "model": one.model,
            "seconds": one.seconds,
            "kind": one.kind,
            "error": one.error,
            **({"cost": prices[place].amount, "cost_kind": prices[place].kind} if place in prices else {}),
        }
        for place, one in enumerate(attempts)
        if one.error
    ]


def of(payload: StepPayload | None) -> list[Json]:
    """The tries that a step keeps, in order; none where nothing failed, or where the engine did not ask."""
    output = payload.output if payload and isinstance(payload.output, dict) else {}
    found: Any = output.get("attempts")
    return [one for one in found if isinstance(one, dict) and one.get("error")] if isinstance(found, list) else []


def degraded(payload: StepPayload | None) -> str:
    """Why a question was asked as the release wants it while its first model is away; empty when it was not."""
    output = payload.output if payload and isinstance(payload.output, dict) else {}
    return str(output.get("degraded") or "")


def told(step: Step, payload: StepPayload | None) -> str:
    """In a sentence or two; empty where the first model answered."""
    failed: dict[str, str] = {}
    for one in of(payload):
        if one.get("model") != step.model:
            failed.setdefault(_name(one), _absent(one))  # the first reason: after it a second try may not be made
    said = [f"{', '.join(failed.values())}; {_instead(step)}."] if failed else []
    return " ".join([*said, *(["Degraded, as its release wants it then."] if degraded(payload) else [])])


def _name(attempt: Json) -> str:
    return str(attempt.get("model") or attempt.get("provider") or "a model")


def _absent(attempt: Json) -> str:
    name = _name(attempt)
    if attempt.get("provider") == CACHED:
        return "no earlier answer fits"
    if attempt.get("kind") == LEFT_ALONE:
        return f"{name} is left alone"
    return f"{name} did not answer ({str(attempt.get('kind') or 'failed').replace('_', ' ')})"


def _instead(step: Step) -> str:
    if step.provider == CACHED:
        return "an answer from before was used"
    return f"{step.model or 'another one'} {'answered in its place' if step.provider == PERSON else 'did'}"
