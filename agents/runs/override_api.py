"""The API's doors to overrides: parameters of a run, or of all runs of an agent, changed for a time.

Apart from the doors that steer because both kinds of subject have the same three here.
"""

from typing import Any, Self
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone
from ninja import Query, Router
from uuid_utils.compat import uuid7

from agents.keyset import cut
from agents.models import Agent, Override, Run, User
from agents.registry.api import visible_agent
from agents.runs import overriding
from agents.runs.api import visible_run
from agents.wire import ActorRequest, Body, Filters, GivenMoment, Moment, Out, Page, Words

of_runs = Router(tags=["runs"])
of_agents = Router(tags=["agents"])


class OverrideIn(Body):
    """A parameter to be changed."""

    parameter: str
    value: Any
    reason: str = ""
    expires_at: GivenMoment | None = None
    request_id: UUID | None = None

    def as_verb(self) -> dict[str, Any]:
        """What the verb takes: an hour where nobody says how long, and until the run ends where somebody says null."""
        said = "expires_at" in self.model_fields_set
        return {
            "parameter": self.parameter,
            "value": self.value,
            "reason": self.reason,
            "expires_at": self.expires_at if said else timezone.now() + overriding.USUALLY,
            "request_id": self.request_id or uuid7(),
        }


class RevertIn(Body):
    """Which parameter is to be as its release says."""

    parameter: str
    reason: str = ""
    request_id: UUID | None = None


class OverrideOut(Out):
    """A parameter that somebody changed."""

    id: UUID
    run: UUID | None
    agent: str
    parameter: str
    before: Any
    value: Any
    reason: str
    by: str | None
    request_id: UUID
    made_at: Moment
    expires_at: Moment | None
    ended_at: Moment | None
    ended_by: str | None
    ended_because: Words

    @classmethod
    def of(cls, one: Override) -> Self:
        """From its row."""
        names = {"by": one.by and one.by.username, "ended_by": one.ended_by and one.ended_by.username}
        return cls.taken_from(one, run=one.run_id, agent=one.agent.slug, **names)


@of_runs.post(
    "/{run_id}/overrides",
    response={201: OverrideOut},
    operation_id="override_run",
    summary="Change a parameter of a run",
)
def override_run(request: ActorRequest, run_id: UUID, body: OverrideIn) -> OverrideOut:
    """From its next step on."""
    run = visible_run(request.actor, run_id)
    return OverrideOut.of(overriding.override(run, by=request.actor, **body.as_verb()))


@of_runs.get(
    "/{run_id}/overrides",
    response=Page[OverrideOut],
    operation_id="list_runoverrides",
    summary="What was changed of a run",
)
def list_run_overrides(request: ActorRequest, run_id: UUID, filters: Query[Filters]) -> Page[OverrideOut]:
    """Of the run itself, and of its agent since it was created."""
    run = visible_run(request.actor, run_id)
    lasting = Q(ended_at=None) | Q(ended_at__gte=run.created_at)
    return _page(Override.objects.filter(Q(run=run) | Q(lasting, run=None, agent=run.agent_id)), filters)


@of_runs.delete(
    "/{run_id}/overrides", response=OverrideOut, operation_id="revert_run", summary="Take an override of a run back"
)
def revert_run(request: ActorRequest, run_id: UUID, body: RevertIn) -> OverrideOut:
    """As the release says, from the next step on."""
    return _reverted(visible_run(request.actor, run_id), body, by=request.actor)


@of_agents.post(
    "/{slug}/overrides",
    response={201: OverrideOut},
    operation_id="override_agent",
    summary="Change a parameter of all runs of an agent",
)
def override_agent(request: ActorRequest, slug: str, body: OverrideIn) -> OverrideOut:
    """From their next steps on."""
    agent = visible_agent(request.actor, slug)
    return OverrideOut.of(overriding.override(agent, by=request.actor, **body.as_verb()))


@of_agents.get(
    "/{slug}/overrides",
    response=Page[OverrideOut],
    operation_id="list_agentoverrides",
    summary="What was changed of an agent",
)
def list_agent_overrides(request: ActorRequest, slug: str, filters: Query[Filters]) -> Page[OverrideOut]:
    """Of all its runs, not of single ones."""
    agent = visible_agent(request.actor, slug)
    return _page(Override.objects.filter(agent=agent, run=None), filters)


@of_agents.delete(
    "/{slug}/overrides", response=OverrideOut, operation_id="revert_agent", summary="Take an override of an agent back"
)
def revert_agent(request: ActorRequest, slug: str, body: RevertIn) -> OverrideOut:
    """As its release says, from the next steps on."""
    return _reverted(visible_agent(request.actor, slug), body, by=request.actor)


def _reverted(subject: Run | Agent, body: RevertIn, *, by: User) -> OverrideOut:
    request_id = body.request_id or uuid7()
    back = overriding.revert(subject, parameter=body.parameter, by=by, reason=body.reason, request_id=request_id)
    return OverrideOut.of(back)


def _page(rows: QuerySet[Override], filters: Filters) -> Page[OverrideOut]:
    shown = rows.select_related("agent", "by", "ended_by")
    page = cut(shown, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[OverrideOut.of(one) for one in page.rows], next_cursor=page.next_cursor)
