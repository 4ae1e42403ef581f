"""The API's door to the fleet as a whole. It stands in the shell because it counts what every app knows."""

from datetime import datetime, timedelta
from typing import Annotated, Self

from django.utils import timezone
from ninja import Field, Query, Router

from agents.keyset import cut
from agents.models import Agent, Worker
from agents.registry.api import Environment
from agents.runs import fleet
from agents.wire import ActorRequest, Filters, Moment, Money, Out, one_of
from approvals.models import Approval

router = Router(tags=["fleet"])


class UnfinishedOut(Out):
    """Runs that have not ended, by state."""

    queued: int = 0
    running: int = 0
    waiting: int = 0
    paused: int = 0
    compensating: int = 0


class RecentOut(Out):
    """What was done lately."""

    runs_completed: int
    runs_failed: int
    runs_cancelled: int
    steps: int
    model_calls: int
    tool_calls: int
    step_errors: int
    refusals: int
    holds: int
    tokens_in: int | None
    tokens_out: int | None
    cost: Money | None
    unpriced: int
    confidence: float | None
    run_p50_s: float | None
    run_p95_s: float | None
    last_minute: Moment | None

    @classmethod
    def of(cls, recent: fleet.Recent) -> Self:
        """From sums of minute rollups; what nobody told is null."""
        return cls.taken_from(
            recent,
            tokens_in=None if recent.is_untold else recent.tokens_in,
            tokens_out=None if recent.is_untold else recent.tokens_out,
            cost=recent.known_cost,
            run_p50_s=recent.run_quantile(0.5),
            run_p95_s=recent.run_quantile(0.95),
        )


class WorkerOut(Out):
    """A process and its last sign of life."""

    name: str
    kind: Annotated[Worker.Kind, one_of(Worker.Kind)]
    host: str
    driving: int
    started_at: Moment
    seen_at: Moment
    age_s: float
    alive: bool

    @classmethod
    def of(cls, sign: fleet.Sign) -> Self:
        """From its row, read now."""
        return cls.taken_from(sign.worker, age_s=sign.age_s, alive=sign.is_alive)


class FleetItem(Out):
    """How one agent is."""

    agent: str
    name: str
    team: str
    environment: Environment
    release: str | None
    frozen: bool
    runs: UnfinishedOut
    recent: RecentOut


class FleetOut(Out):
    """How the fleet is."""

    at: Moment
    since: Moment
    runs: UnfinishedOut
    waiting_on_people: int
    recent: RecentOut
    workers: list[WorkerOut]
    items: list[FleetItem]
    next_cursor: str | None


class FleetFilters(Filters):
    """How far back, and which page of the agents."""

    minutes: int = Field(60, ge=1, le=1440, description="How far `recent` looks back.")


@router.get("", response=FleetOut, operation_id="get_fleet", summary="How the fleet is")
def get_fleet(request: ActorRequest, filters: Query[FleetFilters]) -> FleetOut:
    """Totals over everything you can see, one row per agent, and the workers."""
    now, user = timezone.now(), request.actor
    since = _minute(now - timedelta(minutes=filters.minutes))
    runs, recent = fleet.unfinished_by_agent(user), fleet.recent_by_agent(user, since)
    agents = Agent.objects.visible_to(user).select_related("team", "release").defer("release__bundle")
    page = cut(agents, key="slug", limit=filters.limit, cursor=filters.cursor)
    totals = {state: sum(counts.get(state, 0) for counts in runs.values()) for state in fleet.UNFINISHED}
    return FleetOut(
        at=now,
        since=since,
        runs=UnfinishedOut(**{str(state): count for state, count in totals.items()}),
        waiting_on_people=Approval.objects.visible_to(user).open().count(),
        recent=RecentOut.of(fleet.together(recent.values())),
        workers=[WorkerOut.of(sign) for sign in fleet.workers()],
        items=[_item(agent, runs.get(agent.pk, {}), recent.get(agent.pk, fleet.NOTHING)) for agent in page.rows],
        next_cursor=page.next_cursor,
    )


def _minute(at: datetime) -> datetime:
    """The start of its minute: rollups know nothing finer."""
    return at.replace(second=0, microsecond=0)


def _item(agent: Agent, runs: dict[str, int], recent: fleet.Recent) -> FleetItem:
    return FleetItem(
        agent=agent.slug,
        name=agent.name,
        team=agent.team.slug,
        environment=Agent.Environment(agent.environment),
        release=agent.release.version if agent.release else None,
        frozen=agent.frozen_at is not None,
        runs=UnfinishedOut(**runs),
        recent=RecentOut.of(fleet.of_agent(agent, recent)),
    )
