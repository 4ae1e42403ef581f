"""Who may do what: every granted tool of every agent, judged as if nothing but the tool were known.

Confidence is unknown and arguments are empty, so that the answer is what holds by itself; the rules that can make it
another one, by an amount or a confidence, are named beside it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agents.contracts import Action, Json, Stance, Verdict
from agents.models import Agent, Tool, ToolGrant, User
from agents.registry import declarations, thresholds
from approvals.gates import TierGate
from approvals.policies import effective, gate, loaded, requests, scopes, surface
from approvals.policies.engine import PolicyEngine
from approvals.policies.loaded import Loaded
from approvals.policies.rules import Rule

NOWHERE = UUID(int=0)
WORDS = {Stance.ALLOW: ("ok", "allow"), Stance.HOLD: ("wait", "ask"), Stance.DENY: ("bad", "deny")}
EMPTY = {"Long": 0, surface.HUNDREDTHS: 0, "String": "", "Bool": False}
TIERS = dict(Tool.TIERS)


@dataclass(frozen=True, slots=True)
class Permission:
    """What one agent may do with one tool: the answer, why, the rules it may still depend on, since when, by whom."""

    agent: Agent
    name: str
    tier: int | None
    stance: Stance
    why: str
    depends: Sequence[Rule] = ()
    since: datetime | None = None
    by: str = "cockpit"

    @property
    def hue(self) -> str:
        """The colour class of the answer."""
        return WORDS[self.stance][0]

    @property
    def word(self) -> str:
        """The answer in a word."""
        return WORDS[self.stance][1]


def matrix(agents: Sequence[Agent]) -> Iterator[Permission]:
    """Every permission of these agents (with team and release), in their order: one query."""
    held = loaded.enforced()
    grants = ToolGrant.objects.filter(agent__in=agents, revoked_at=None).select_related("tool", "granted_by")
    given: dict[UUID, list[ToolGrant]] = {}
    bundles = effective.bundles(agents)
    for grant in grants.order_by("tool_id"):
        given.setdefault(grant.agent_id, []).append(grant)
    for agent in agents:
        if agent.release is not None:
            yield from of_agent(agent, bundles[agent.pk], given.get(agent.pk, ()), held)


def of_agent(agent: Agent, bundle: Json, grants: Iterable[ToolGrant], held: Loaded | None) -> Iterator[Permission]:
    """The permissions of one agent with a release, by its bundle in force: its model first, then its tools by name."""
    assert agent.release is not None
    if links := chain(bundle):
        asked = action(agent, bundle, surface.MODEL, kind="model", arguments={"chain": links})
        said = judge(asked, agent.team.slug, held)
        rules = _depends(asked, agent.team.slug, held)
        since, by = agent.release.published_at, _name(agent.release.published_by)
        yield Permission(agent, surface.MODEL, None, said.stance, said.reason or ASKS, rules, since, by)
    for grant in grants:
        tier = tier_of(bundle, grant)
        asked = action(agent, bundle, grant.tool_id, tier=tier, writes=grant.tool.writes, arguments=_empty(grant, held))
        said = judge(asked, agent.team.slug, held)
        rules = _depends(asked, agent.team.slug, held)
        why = said.reason or f"Tier {tier}, {TIERS.get(tier, '')}: its release grants it and nothing speaks against it."
        yield Permission(agent, grant.tool_id, tier, said.stance, why, rules, grant.granted_at, _name(grant.granted_by))


ASKS = "Its release names these models and nothing speaks against them."


def tier_of(bundle: Json, grant: ToolGrant) -> int:
    """The tier at which a tool is used by this bundle."""
    tier: int = (bundle.get("tiers") or {}).get(grant.tool_id, grant.tier or grant.tool.tier)
    return tier


def chain(bundle: Json) -> list[Json]:
    """Every model that may be asked, those for the time while the first is away included: all of them are judged."""
    return [*(bundle.get("models") or ()), *((bundle.get("degraded") or {}).get("models") or ())]


def action(agent: Agent, bundle: Json, name: str, *, kind: str = "tool", tier: int = 1, **fields: Any) -> Action:
    """An act of an agent as a gate would see it, by its bundle in force; `facts` add to what is known by itself."""
    release = agent.release
    assert release is not None
    facts: Json = fields.pop("facts", {}) | {
        "data_class": bundle.get("data_class"),
        "frozen": agent.frozen_at is not None,
    }
    facts |= thresholds.facts(bundle, name)
    values: Json = {"arguments": {}, "writes": False, "environment": agent.environment, "facts": facts, **fields}
    return Action(
        run_id=NOWHERE,
        seq=0,
        kind=kind,
        name=name,
        agent_id=agent.pk,
        agent=agent.slug,
        release_id=release.pk,
        release=release.version,
        team_id=agent.team_id,
        tier=tier,
        risk=declarations.risk_of(bundle, name, writes=values["writes"]) if kind == "tool" else None,
        **values,
    )


def judge(asked: Action, team: str, held: Loaded | None) -> Verdict:
    """The stricter of what its tier and what the policies say."""
    by_tier = TierGate().ask(asked)
    by_policy = gate.verdict(held, held.judge(asked, team=team), asked) if held else Verdict(Stance.ALLOW)
    return max(by_policy, by_tier, key=lambda one: one.stance)


def _empty(grant: ToolGrant, held: Loaded | None) -> Json:
    """Arguments that say nothing, of the types that the rules expect."""
    known = held.engine.surface["tools"].get(grant.tool_id) if held and held.engine else None
    if known is None:
        return {}
    return {one["argument"]: EMPTY.get(one["type"], []) for one in known["input"].values() if one["required"]}


def _depends(asked: Action, team: str, held: Loaded | None) -> list[Rule]:
    if held is None or held.engine is None:
        return []
    return conditional(held.engine, asked, team)


def conditional(engine: PolicyEngine, asked: Action, team: str) -> list[Rule]:
    """The forbids in whose scope an act lies and that look at its facts: they may make the answer another one."""
    questions = requests.of(asked, engine.surface, team=team)
    decided = set(engine.judge(asked, team=team).rules)
    found = [
        rule
        for rule in engine.rules.values()
        if rule.effect == "forbid" and scopes.depends(rule) and any(scopes.covers(rule, one) for one in questions)
    ]
    return sorted((rule for rule in found if rule.id not in decided), key=lambda rule: rule.id)


def _name(user: User | None) -> str:
    return user.username if user else "cockpit"
