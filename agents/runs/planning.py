"""From what a program asks for to what gates can judge: which step, which tool, which tier, whether the arguments
hold."""

from dataclasses import replace
from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from agents import errors
from agents.contracts import UNKNOWN, Action, AskModel, Delegate, Json, Risk, UseTool
from agents.llm import estimates
from agents.registry import thresholds
from agents.runs import hotpath, windows
from agents.runs.lease import Claim
from agents.runs.steps import Planned, Result
from agents.tools import catalogue, invocation
from agents.tools.catalogue import ToolSpec

DELEGATE, DELEGATE_TIER = "delegate.", 2


@with_config(ConfigDict(extra="forbid"))
class _Delegation(TypedDict):
    """What a delegation is given."""

    objective: Annotated[str, Field(min_length=1, pattern=r"\S")]
    input: NotRequired[Json]
    deadline_s: NotRequired[Annotated[float, Field(gt=0)]]


_DELEGATION: TypeAdapter[_Delegation] = TypeAdapter(_Delegation)
UNKNOWN_TIER = 2  # a recorded tool that no list describes: supervised


def plan(claim: Claim, ask: AskModel | UseTool, *, seq: int, turn: int) -> Planned | tuple[Planned, Result]:
    """The step this ask becomes; with a result at once when it cannot be tried (unknown tool, arguments that do not
    fit)."""
    if isinstance(ask, AskModel):
        chain = claim.release.bundle.get("models") or [{"provider": "", "model": ""}]
        name = ask.recorded.model if ask.recorded else chain[0]["model"]
        instead = (claim.release.bundle.get("degraded") or {}).get("models", [])  # whoever may be asked is judged
        given = {"messages": len(ask.messages), "chain": [*chain, *instead]}
        action = act(claim, seq, "model", name, given, tier=1, writes=False)
        if ask.recorded is None:
            action.facts.update(size(claim, ask))
        return Planned(seq, turn, ask, action)
    if ask.recorded:
        tier = ask.tier or UNKNOWN_TIER
        action = act(claim, seq, "tool", ask.name, ask.arguments, tier=tier, writes=bool(ask.writes), ask=ask)
        return Planned(seq, turn, ask, action)
    if ask.name.startswith(DELEGATE):
        return plan_delegation(claim, ask, seq=seq, turn=turn)
    return plan_tool(claim, ask, seq=seq, turn=turn)


def as_use(ask: Delegate) -> UseTool:
    """A delegation as a model would ask for it."""
    given = {"objective": ask.objective, "input": ask.input, "deadline_s": ask.deadline_s}
    return UseTool(DELEGATE + ask.agent, {key: value for key, value in given.items() if value not in (None, {})})


def plan_delegation(claim: Claim, ask: UseTool, *, seq: int, turn: int) -> Planned | tuple[Planned, Result]:
    """A run of an agent that the release names among its delegates."""
    slug, bundle = ask.name.removeprefix(DELEGATE), claim.release.bundle
    tier = bundle.get("tiers", {}).get(ask.name, DELEGATE_TIER)
    says = f"Ask {slug}: {ask.arguments.get('objective', '')}"
    named = replace(ask, says=ask.says or says)
    planned = Planned(
        seq, turn, ask, act(claim, seq, "delegate", ask.name, ask.arguments, tier=tier, writes=False, ask=named)
    )
    delegates = bundle.get("delegates") or ()
    if slug not in delegates:
        known = ", ".join(delegates) or "none"
        reason = f"{slug} is not among the delegates of release {claim.release.version} ({known})."
        return planned, Result("refused", error_class="not_granted", error=reason, gate="grants")
    if ask.malformed:
        return planned, Result("failed", error_class="invalid_arguments", error="The arguments are not a JSON object.")
    try:
        _DELEGATION.validate_python(ask.arguments, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"{ask.name}: `{'.'.join(map(str, first['loc']))}`: {first['msg']}."
        return planned, Result("failed", error_class="invalid_arguments", error=reason)
    action = replace(planned.action, arguments=hotpath.clean(ask.arguments))
    return replace(planned, action=action)


def data_class(claim: Claim) -> Json:
    """What the release says of the data its agent works with, for gates that judge where it may go."""
    said = claim.release.bundle.get("data_class")
    return {"data_class": said} if said else {}


def size(claim: Claim, ask: AskModel) -> Json:
    """What gates that judge a price need to know: the tokens that go in, and the most that may come out."""
    schemas = claim.release.bundle.get("tool_schemas", {})
    offered = [{"name": name, **schemas.get(name, {})} for name in ask.tools]
    return {
        "tokens_in": estimates.of_request(ask.messages, offered).input,
        "tokens_out": ask.settings.get("max_tokens"),
    }


def plan_tool(claim: Claim, ask: UseTool, *, seq: int, turn: int) -> Planned | tuple[Planned, Result]:
    """A tool of the catalogue, granted by the release, with arguments that fit its schema; otherwise the step fails
    as data."""
    bundle = claim.release.bundle
    if ask.name not in bundle.get("tools", ()):
        action = act(claim, seq, "tool", ask.name, ask.arguments, tier=4, writes=False)
        known = ", ".join(bundle.get("tools", ())) or "none"
        reason = f"{ask.name} is not among the tools of release {claim.release.version} ({known})."
        return Planned(seq, turn, ask, action), Result(
            "refused", error_class="not_granted", error=reason, gate="grants"
        )
    try:
        spec = catalogue.get(ask.name)
    except errors.Missing as error:
        action = act(claim, seq, "tool", ask.name, ask.arguments, tier=4, writes=False)
        return Planned(seq, turn, ask, action), Result("failed", error_class="no_such_tool", error=error.message)
    tier = bundle.get("tiers", {}).get(ask.name, spec.tier)
    if ask.malformed:
        action = act(claim, seq, "tool", ask.name, {}, tier=tier, writes=False)
        reason = "The arguments are not a JSON object."
        return Planned(seq, turn, ask, action, spec), Result("failed", error_class="invalid_arguments", error=reason)
    try:
        arguments = hotpath.clean(invocation.validate(spec, ask.arguments))
    except errors.Invalid as error:
        action = act(claim, seq, "tool", ask.name, ask.arguments, tier=tier, writes=False)
        failure = Result("failed", error_class="invalid_arguments", error=error.message)
        return Planned(seq, turn, ask, action, spec), failure
    action = act(claim, seq, "tool", spec.name, arguments, tier=tier, writes=spec.writes, risk=spec.risk, ask=ask)
    if spec.stop_window:
        action.facts[windows.SECONDS] = spec.stop_window.total_seconds()
    action.facts.update(thresholds.facts(bundle, spec.name))
    try:
        return Planned(seq, turn, ask, described(action, spec), spec)
    except errors.OutsideError as error:
        return Planned(seq, turn, ask, action, spec), Result("failed", error_class=error.kind, error=str(error))


def described(action: Action, spec: ToolSpec) -> Action:
    """The action with what its tool says of itself. Raises `errors.OutsideError` when the tool cannot say it."""
    if not (spec.writes or spec.says):
        return action
    says, preview = invocation.describe(spec, action.arguments), invocation.preview(spec, action.arguments)
    if spec.preconditions:
        found = hotpath.clean(invocation.preconditions(spec, action.arguments))
        action = replace(action, facts=action.facts | {"preconditions": found})
    return replace(action, says=hotpath.text(says), preview=tuple(hotpath.clean(list(preview))))


def replace_said(action: Action, spec: ToolSpec) -> Action:
    """Describe an act anew after a person edited it; what cannot be described is refused where it would be done."""
    try:
        return described(action, spec)
    except errors.OutsideError as error:
        unknown = {"preconditions": {"unknown": str(error)}} if spec.preconditions else {}
        return replace(action, says=str(error), preview=(), facts=action.facts | unknown)


def act(
    claim: Claim,
    seq: int,
    kind: str,
    name: str,
    arguments: Json,
    *,
    tier: int,
    writes: bool,
    risk: Risk | None = None,
    ask: UseTool | None = None,
) -> Action:
    """An action of this run."""
    return Action(
        run_id=claim.run_id,
        seq=seq,
        kind=kind,
        name=name,
        arguments=arguments,
        agent_id=claim.agent_id,
        agent=claim.agent,
        release_id=claim.release_id,
        release=claim.release.version,
        team_id=claim.team_id,
        environment=claim.environment,
        tier=tier,
        writes=writes,
        confidence=ask.confidence if ask else UNKNOWN,
        says=hotpath.text(ask.says) if ask else "",
        facts=data_class(claim),
        risk=risk,
    )
