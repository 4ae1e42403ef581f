"""In one sentence, what makes an agent ask a person: tiers, its threshold, and the rules that ask."""

from collections.abc import Sequence

from agents.contracts import Risk
from agents.models import Agent, ToolGrant
from agents.registry import declarations
from approvals.policies import loaded, permissions, requests, scopes
from approvals.policies.rules import Rule


def sentence(agent: Agent) -> str:
    """For the page of an agent with its team and release."""
    if agent.release is None:
        return "It cannot do anything until a release is published."
    if agent.environment == "sandbox":
        return "It never asks a person: in its sandbox acts are simulated."
    grants = list(ToolGrant.objects.filter(agent=agent, revoked_at=None).select_related("tool").order_by("tool_id"))
    parts = [*_tiers(agent, grants), *_threshold(agent, grants), *_policies(agent, grants)]
    if not parts:
        return (
            "It never asks a person: no tool of tier 3 or 4 or of high risk, no threshold and no policy makes it ask."
        )
    said = _several(parts)
    return f"{said[0].upper()}{said[1:]}; everything else it does alone."


def _tier(agent: Agent, grant: ToolGrant) -> int:
    assert agent.release is not None
    tier: int = agent.release.bundle.get("tiers", {}).get(grant.tool_id, grant.tier or grant.tool.tier)
    return tier


def _is_high_risk(agent: Agent, grant: ToolGrant) -> bool:
    assert agent.release is not None
    found = declarations.risk_of(agent.release.bundle, grant.tool_id, writes=grant.tool.writes)
    return found == Risk.HIGH


def _tiers(agent: Agent, grants: Sequence[ToolGrant]) -> list[str]:
    risky = [grant.tool_id for grant in grants if _is_high_risk(agent, grant) and _tier(agent, grant) < 4]
    held = [grant.tool_id for grant in grants if _tier(agent, grant) == 3 and grant.tool_id not in risky]
    manual = [grant.tool_id for grant in grants if _tier(agent, grant) == 4]
    said = [f"a person approves every {_several(risky)} (high risk)"] if risky else []
    said += [f"a person approves every {_several(held)} (tier 3)"] if held else []
    return said + ([f"a person does {_several(manual)} by hand (tier 4)"] if manual else [])


def _threshold(agent: Agent, grants: Sequence[ToolGrant]) -> list[str]:
    assert agent.release is not None
    least = (agent.release.bundle.get("thresholds") or {}).get("confidence")
    if least is None or not any(grant.tool.writes for grant in grants):
        return []
    return [f"a person looks before it writes anything of which it is not {least:.0%} sure"]


def _policies(agent: Agent, grants: Sequence[ToolGrant]) -> list[str]:
    held = loaded.enforced()
    if held is None:
        return []
    if held.engine is None:
        return [f"policies {held.number} could not be loaded, so everything is refused"]
    told = []
    for grant in grants:
        asked = permissions.action(agent, grant.tool_id, tier=_tier(agent, grant), writes=grant.tool.writes)
        questions = requests.of(asked, held.engine.surface, team=agent.team.slug)
        found = [rule for rule in held.engine.rules.values() if rule.is_soft and _reaches(rule, questions)]
        if found:
            why = "; ".join(sorted(rule.reason or rule.id for rule in found))
            told.append(f"{grant.tool_id} ({why})")
    return [f"policy {held.number} asks about {_several(told)}"] if told else []


def _reaches(rule: Rule, questions: Sequence[requests.Request]) -> bool:
    return any(scopes.covers(rule, one) for one in questions)


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
