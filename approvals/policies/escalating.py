"""In one sentence, what makes an agent ask a person: tiers, risk, its threshold, and the rules that ask.

Said of its release as it holds now, of the models it asks and the agents it delegates to as well.
"""

from collections.abc import Iterator, Sequence

from agents.contracts import Action, Json, Risk
from agents.models import Agent, ToolGrant
from agents.registry import thresholds
from agents.runs.planning import DELEGATE, DELEGATE_TIER
from agents.tools.people import ASK_PERSON
from approvals.policies import effective, loaded, permissions, requests, scopes, surface
from approvals.policies.rules import Rule


def sentence(agent: Agent) -> str:
    """For the page of an agent with its team and release."""
    if agent.release is None:
        return "It cannot do anything until a release is published."
    if agent.environment == "sandbox":
        return "It never asks a person: in its sandbox acts are simulated."
    bundle = effective.bundle(agent)
    acts = list(_acts(agent, bundle))
    parts = [*_tiers(acts), *_thresholds(bundle, acts), *_policies(agent, acts)]
    if not parts:
        return (
            "It never asks a person: no tool of tier 3 or 4 or of high risk, no threshold and no policy makes it ask."
        )
    said = _several(parts)
    return f"{said[0].upper()}{said[1:]}; everything else it does alone."


def _acts(agent: Agent, bundle: Json) -> Iterator[Action]:
    """Whatever it can do: each tool that it was granted, each agent it may delegate to, its models."""
    grants = ToolGrant.objects.filter(agent=agent, revoked_at=None).select_related("tool").order_by("tool_id")
    for grant in grants:
        tier = permissions.tier_of(bundle, grant)
        yield permissions.action(agent, bundle, grant.tool_id, tier=tier, writes=grant.tool.writes)
    for slug in bundle.get("delegates") or ():
        name = DELEGATE + slug
        tier = (bundle.get("tiers") or {}).get(name, DELEGATE_TIER)
        yield permissions.action(agent, bundle, name, kind="delegate", tier=tier)
    if links := permissions.chain(bundle):
        yield permissions.action(agent, bundle, surface.MODEL, kind="model", arguments={"chain": links})


def _tiers(acts: Sequence[Action]) -> Iterator[str]:
    done = [one for one in acts if one.name != ASK_PERSON]
    risky = [one.name for one in done if one.risk == Risk.HIGH and one.tier < 4]
    held = [one.name for one in done if one.tier == 3 and one.name not in risky]
    manual = [one.name for one in done if one.tier == 4]
    if risky:
        yield f"a person approves every {_several(risky)} (high risk)"
    if held:
        yield f"a person approves every {_several(held)} (tier 3)"
    if manual:
        yield f"a person does {_several(manual)} by hand (tier 4)"
    if len(done) < len(acts):
        yield "a person answers what it asks"


def _thresholds(bundle: Json, acts: Sequence[Action]) -> Iterator[str]:
    """Each tool with one of its own, then that of all others; of tools that only read none."""
    found = {one.name: thresholds.held(bundle, one.name) for one in acts if one.writes}
    own = {name: one for name, one in found.items() if one and one.parameter != thresholds.ALL}
    for name, one in own.items():
        yield f"a person looks at {name} where it is not {one.value:.0%} sure"
    every = thresholds.held(bundle)
    if every is None or len(own) == len(found):
        return
    which, raised = "else " * bool(own), " (raised for a time)" * every.is_raised
    yield f"a person looks before it writes anything {which}of which it is not {every.value:.0%} sure{raised}"


def _policies(agent: Agent, acts: Sequence[Action]) -> list[str]:
    held = loaded.enforced()
    if held is None:
        return []
    if held.engine is None:
        return [f"policies {held.number} could not be loaded, so everything is refused"]
    told = []
    for act in acts:
        questions = requests.of(act, held.engine.surface, team=agent.team.slug)
        found = [rule for rule in held.engine.rules.values() if rule.is_soft and _reaches(rule, questions)]
        if found:
            why = "; ".join(sorted(rule.reason or rule.id for rule in found))
            told.append(f"{'questions to its models' if act.kind == 'model' else act.name} ({why})")
    return [f"policy {held.number} asks about {_several(told)}"] if told else []


def _reaches(rule: Rule, questions: Sequence[requests.Request]) -> bool:
    return any(scopes.covers(rule, one) for one in questions)


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
