"""From an action as the engine knows it to the questions that policies are asked.

One question for most; for a model call one for each model of its chain, since any of them may be the one that is asked.
What nobody knows is left out: a rule cannot mistake it for a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from agents.contracts import Action, Json
from approvals.policies import surface as surfaces
from approvals.policies.surface import DELEGATE, MODEL, UNLISTED

NOBODY_CALLED = frozenset({"cached", "person"})
"""Links of a chain that are no model: an earlier answer, and a person."""
FLAGS = ("conflicting_results", "abnormal_latency")
WORDS = ("customer_segment", "data_class", "currency")


@dataclass(frozen=True, slots=True)
class Who:
    """The agent that acts and the workspace it acts in: the entities of a question."""

    agent: str
    team: str
    version: str
    tier: int
    environment: str
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One question: may `who` do `action`, as these facts are? `name` is what a person calls it."""

    who: Who
    action: str
    zone: str
    name: str
    context: Json

    def with_level(self, level: int) -> "Request":
        """The same question with an approval of that level given."""
        return replace(self, context={**self.context, "approval_level": level})


def of(action: Action, surface: Json, *, team: str) -> list[Request]:
    """The questions about an action. `team` is the slug of the agent's team. Raises ArithmeticError, TypeError or
    ValueError for arguments that cannot be put to a rule."""
    who = Who(
        agent=action.agent,
        team=team,
        version=action.release,
        tier=action.tier,
        environment=action.environment,
        frozen=bool(action.facts.get("frozen")),
    )
    known = facts(action)
    if action.kind == "model":
        return [Request(who, MODEL, action.zone, name, {**known, **link}) for name, link in _links(action)]
    if action.kind == "delegate":
        return [Request(who, DELEGATE, action.zone, action.name, known)]
    if tool := surface["tools"].get(action.name):
        context = {**known, "input": surfaces.given(tool, action.arguments)}
        return [Request(who, action.name, tool["zone"], action.name, context)]
    return [Request(who, f"{UNLISTED}.{action.zone}", action.zone, action.name, known)]


def facts(action: Action) -> Json:
    """What is known of every action, as the schema names it."""
    known: Json = {
        "approval_level": 0,
        "tool": action.name,
        "tier": action.tier,
        "writes": action.writes,
        "attempt": action.attempt,
        "takes_back": action.compensates is not None,
        "confidence_source": action.confidence.source.value,
    }
    if action.confidence.value is not None:
        known["confidence_bp"] = int(action.confidence.value * 10_000)  # down: never surer than it is
    told = _told(action)
    known |= {name: value for name in FLAGS if isinstance(value := told.get(name), bool)}
    known |= {name: value for name in WORDS if isinstance(value := told.get(name), str) and value}
    if (cost := action.facts.get("estimated_cost_usd")) is not None:
        known["cost_micros"] = int((Decimal(cost) * 1_000_000).to_integral_value(rounding="ROUND_UP"))
    return known | _money(action)


def _told(action: Action) -> Json:
    """What the engine says of the circumstances; where it is silent, what an agent elsewhere tells with its call."""
    said = action.facts.get("context")
    around = dict(said) if isinstance(said, Mapping) else {}
    return around | {name: value for name, value in action.facts.items() if value is not None}


def _money(action: Action) -> Json:
    """How much money the act moves, as its argument `amount` says."""
    amount = action.arguments.get("amount") if action.kind == "tool" else None
    if amount is None:
        return {}
    try:
        found: Json = {"amount_minor": surfaces.minor(amount)}
    except (ArithmeticError, TypeError):
        return {}  # an amount that is no number is no money
    currency = action.arguments.get("currency")
    return found | ({"currency": currency} if isinstance(currency, str) and currency else {})


def _links(action: Action) -> Iterator[tuple[str, Json]]:
    chain: Sequence[Any] = action.arguments.get("chain") or [{"provider": "", "model": action.name}]
    for link in chain:
        if link.get("provider") in NOBODY_CALLED:
            continue
        told = {"provider": link.get("provider") or "", "model": link.get("model") or ""}
        region = {"region": link["region"]} if link.get("region") else {}
        yield told["model"] or action.name, {**told, **region}
