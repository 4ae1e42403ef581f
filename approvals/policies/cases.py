"""The cases a policy set carries: examples that must be allowed, held or denied. One that comes out otherwise keeps
the set from being published.

    [[case]]
    name = "A refund of 2,000 is refused"
    expect = "deny"
    rule = "forbid-over-1000"
    tool = "payments.refund"
    arguments = { order = 4711, amount = "2000.00" }
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents import errors
from agents.contracts import Action, Confidence, Json, Risk, Source
from agents.registry.declarations import alike
from approvals.policies.engine import Decision, PolicyEngine

NOWHERE = UUID(int=0)
FACTS = (
    "conflicting_results",
    "abnormal_latency",
    "customer_segment",
    "data_class",
    "estimated_cost_usd",
    "frozen",
)


class Strict(BaseModel):
    """A table in which every key means something."""

    model_config = ConfigDict(extra="forbid")


class Model(Strict):
    """A model that is to be called."""

    provider: str
    model: str
    region: str = ""


class Case(Strict):
    """One example. Either `tool` or `model`; what is not said is unknown to the rules as well."""

    name: Annotated[str, Field(min_length=1)]
    expect: Literal["allow", "hold", "deny"]
    rule: str = ""
    level: Literal["", "L1", "L2", "L3", "L4"] = ""
    approved: Literal["", "L1", "L2", "L3", "L4"] = ""
    tool: str = ""
    model: Model | None = None
    arguments: Json = {}
    agent: str = "agent"
    team: str = "team"
    version: str = "1"
    environment: Literal["live", "sandbox"] = "live"
    tier: Annotated[int, Field(ge=1, le=4)] | None = None
    writes: bool | None = None
    risk: Risk | None = None
    attempt: Annotated[int, Field(ge=1)] = 1
    takes_back: bool = False
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    facts: Json = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case came out; `problem` is empty where it came out as it must."""

    name: str
    expect: str
    decision: Decision
    problem: str = ""


def read(content: Json, file: str) -> list[Json]:
    """The cases of a file, complete. Raises `errors.Invalid` naming the case and the key."""
    if unknown := sorted(content.keys() - {"case"}):
        raise errors.Invalid(f"{file}: {unknown[0]} means nothing here; write each case under [[case]].", field="cases")
    return [_read(given, f"{file}: case {number}") for number, given in enumerate(content.get("case", ()), 1)]


def _read(given: Any, place: str) -> Json:
    name = given.get("name") if isinstance(given, dict) else None
    place += f" ({name})" if name else ""
    try:
        case = Case.model_validate(given)
    except ValidationError as error:
        raise errors.Invalid(f"{place}: {_sentence(error)}", field="cases") from error
    if bool(case.tool) == (case.model is not None):
        raise errors.Invalid(f"{place}: name either the tool or the model that is to be used.", field="cases")
    for key in case.facts.keys() - set(FACTS):
        hint = alike(key, FACTS) or f"There are {', '.join(FACTS)}."
        raise errors.Invalid(f"{place}: facts.{key} is nothing that the engine knows. {hint}", field="cases")
    kept: Json = case.model_dump(mode="json", exclude_defaults=True)
    return kept


def _sentence(error: ValidationError) -> str:
    first = "extra_forbidden"  # a misspelt key explains what else is missing
    found = min(error.errors(include_url=False), key=lambda one: one["type"] != first)
    key = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        hint = alike(key, Case.model_fields) or f"There are {', '.join(Case.model_fields)}."
        return f"{key} means nothing here. {hint}"
    return f"{key}: {found['msg'][0].lower()}{found['msg'][1:]}."


def run(engine: PolicyEngine, cases: Iterable[Json]) -> Iterator[Outcome]:
    """Judge every case."""
    known = {rule.id for rule in engine.rules.values()}
    for given in cases:
        case = Case.model_validate(given)
        level = int(case.approved.removeprefix("L") or 0)
        decision = engine.judge(_action(case, engine.surface), team=case.team, level=level)
        yield Outcome(case.name, case.expect, decision, _problem(case, decision, known))


def _action(case: Case, surface: Json) -> Action:
    kind = "tool" if case.tool else "model"
    name = case.tool or (case.model.model if case.model else "")
    if name.startswith("delegate."):
        kind = "delegate"
    known = surface["tools"].get(name, {})
    writes = known.get("writes", known.get("zone", "green") != "green") if case.writes is None else case.writes
    arguments = {"chain": [case.model.model_dump()]} if case.model else case.arguments
    sure = Confidence() if case.confidence is None else Confidence(case.confidence, Source.SELF_REPORTED)
    return Action(
        run_id=NOWHERE,
        seq=1,
        kind=kind,
        name=name,
        arguments=arguments,
        agent_id=NOWHERE,
        agent=case.agent,
        release_id=NOWHERE,
        release=case.version,
        team_id=NOWHERE,
        environment=case.environment,
        tier=case.tier or known.get("tier", 2 if writes else 1),
        writes=writes,
        risk=case.risk,
        confidence=sure,
        attempt=case.attempt,
        facts=dict(case.facts),
        compensates=0 if case.takes_back else None,
    )


def _problem(case: Case, decision: Decision, known: set[str]) -> str:
    found = decision.stance.name.lower()
    why = f" ({decision.reason})" if decision.reason else ""
    if decision.errors:
        return f"{case.name}: could not be judged: {decision.errors[0]}"
    if found != case.expect:
        return f"{case.name}: must {case.expect}, but the policies {found} it{why}."
    if case.rule and case.rule not in known:
        return f"{case.name}: there is no rule {case.rule}. {alike(case.rule, known)}".strip()
    if case.rule and case.rule not in decision.rules:
        return f"{case.name}: {case.rule} is to {case.expect} it, but {', '.join(decision.rules) or 'no rule'} did."
    if case.level and decision.level != int(case.level.removeprefix("L")):
        return f"{case.name}: must ask for {case.level}, but asks for L{decision.level}."
    return ""
