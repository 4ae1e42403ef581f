"""The API's doors to agents: what they are and what their release may use. Freezing them is a door of runs."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils import timezone
from ninja import Query, Router

from agents import errors
from agents.keyset import cut
from agents.people.models import Permission, Team, User
from agents.registry.models import Agent, Release
from agents.wire import ActorRequest, Filters, Moment, Out, Page, Several, Slugs, SwitchFilter, Words, one_of

router = Router(tags=["agents"])

Environment = Annotated[Agent.Environment, one_of(Agent.Environment)]
ReleaseState = Annotated[Release.State, one_of(Release.State)]


class ReleaseOut(Out):
    """The release an agent runs."""

    version: str
    digest: str
    program: str
    state: ReleaseState
    published_at: Moment


class FrozenOut(Out):
    """Who froze an agent, when and why."""

    at: Moment
    by: str | None
    reason: Words


class AgentItem(Out):
    """An agent in a list."""

    slug: str
    name: str
    team: str
    owner: str | None
    purpose: str
    use_case: Words
    environment: Environment
    simulated: bool
    release: ReleaseOut | None
    frozen: FrozenOut | None
    created_at: Moment


class ModelOut(Out):
    """A model of a chain."""

    provider: str
    model: str


class GrantedTool(Out):
    """A tool that an agent may use, with the tier that holds for this agent."""

    name: str
    tier: int
    writes: bool


class AgentOut(AgentItem):
    """One agent, and what its release may use."""

    models: list[ModelOut]
    tools: list[GrantedTool]
    limits: dict[str, Any]


class AgentFilters(Filters):
    """Which agents."""

    environment: Annotated[list[Environment], Several] = []
    frozen: SwitchFilter = None
    team: Slugs = []


@router.get("", response=Page[AgentItem], operation_id="list_agents", summary="The agents you can see, by slug")
def list_agents(request: ActorRequest, filters: Query[AgentFilters]) -> Page[AgentItem]:
    """Every agent of your teams, with its release and whether it is frozen."""
    agents = _agents(request.actor)
    if filters.environment:
        agents = agents.filter(environment__in=filters.environment)
    if filters.frozen is not None:
        agents = agents.filter(frozen_at__isnull=not filters.frozen)
    if filters.team:
        agents = agents.filter(team__in=_teams_named(request.actor, filters.team))
    found = cut(agents, key="slug", limit=filters.limit, cursor=filters.cursor)
    items = [AgentItem.taken_from(agent, **_shown(agent)) for agent in found.rows]
    return Page(items=items, next_cursor=found.next_cursor)


@router.get("/{slug}", response=AgentOut, operation_id="get_agent", summary="One agent")
def get_agent(request: ActorRequest, slug: str) -> AgentOut:
    """One agent, and what its release may use."""
    agent: Any = _agents(request.actor).annotate(limits=F("release__bundle__limits")).filter(slug=slug).first()
    if agent is None:
        raise errors.Missing()
    models = [ModelOut(provider=each.get("provider", ""), model=each.get("model", "")) for each in agent.chain or []]
    more = {"models": models, "tools": _granted(agent), "limits": agent.limits or {}}
    return AgentOut.taken_from(agent, **_shown(agent), **more)


def visible_agent(user: User, slug: str, *, field: str = "") -> Agent:
    """The agent of that slug, or the news that there is none to be seen (in the body's field of that name)."""
    agent: Agent | None = Agent.objects.visible_to(user).select_related("team", "release").filter(slug=slug).first()
    if agent is None:
        raise errors.Missing(f"You can see no agent of the slug {slug!r}." if field else "", field=field)
    return agent


def agents_named(user: User, slugs: Sequence[str]) -> list[UUID]:
    """The ids of agents named in a filter; a name that nobody has is a mistake, not an empty answer."""
    found = dict(Agent.objects.visible_to(user).filter(slug__in=slugs).values_list("slug", "pk"))
    if unknown := next((slug for slug in slugs if slug not in found), None):
        raise errors.Invalid(f"`agent` names {unknown!r}; you can see no agent of that slug.", field="agent")
    return list(found.values())


def _teams_named(user: User, slugs: Sequence[str]) -> list[UUID]:
    everywhere, teams = user.places(Permission.SEE)
    seen = Team.objects.all() if everywhere else Team.objects.filter(pk__in=teams)
    found = dict(seen.filter(slug__in=slugs).values_list("slug", "pk"))
    if unknown := next((slug for slug in slugs if slug not in found), None):
        raise errors.Invalid(f"`team` names {unknown!r}; you can see no team of that slug.", field="team")
    return list(found.values())


def _agents(user: User) -> QuerySet[Agent]:
    """Agents with everything a list shows; of the bundle, which may be long, only the model chain."""
    agents = Agent.objects.visible_to(user).select_related("team", "owner", "release", "frozen_by")
    shown: QuerySet[Agent] = agents.defer("release__bundle").annotate(chain=F("release__bundle__models"))
    return shown


def _shown(agent: Any) -> dict[str, Any]:
    """What a list shows of an agent and the row does not hold under the same name."""
    return {
        "team": agent.team.slug,
        "owner": agent.owner.username if agent.owner else None,
        "simulated": is_simulated(agent.chain),
        "release": ReleaseOut.taken_from(agent.release) if agent.release else None,
        "frozen": _frozen(agent) if agent.frozen_at else None,
    }


def is_simulated(chain: list[dict[str, Any]] | None) -> bool:
    """Whether a simulated model is among these."""
    return any(model.get("provider") == "simulated" for model in chain or [])


def _frozen(agent: Any) -> FrozenOut:
    by = agent.frozen_by.username if agent.frozen_by else None
    return FrozenOut(at=agent.frozen_at, by=by, reason=agent.frozen_reason)


def _granted(agent: Agent) -> list[GrantedTool]:
    holding = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    grants = agent.grants.filter(holding, revoked_at=None).select_related("tool").order_by("tool_id")
    return [
        GrantedTool(name=grant.tool_id, tier=grant.tier or grant.tool.tier, writes=grant.tool.writes)
        for grant in grants
    ]
