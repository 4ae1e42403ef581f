"""The API's doors to escalation policies and business calendars: what holds for each team, and the next version."""

from typing import Any, Self
from uuid import UUID

from ninja import Query, Router

from agents import errors
from agents.keyset import cut
from agents.models import Permission, Team
from agents.wire import ActorRequest, Body, Filters, Moment, Out, Page
from approvals.escalation import publishing
from approvals.escalation.models import BusinessCalendar, EscalationPolicy, Published, PublishedQuerySet

policies = Router(tags=["escalation"])
calendars = Router(tags=["escalation"])


class PublishedOut(Out):
    """A version that governs a team, or (team null) every team without one of its own. `version` is null for what is
    built in."""

    team: str | None
    version: int | None
    content: dict[str, Any] | None
    published_by: str | None
    published_at: Moment | None

    @classmethod
    def of(cls, row: Published) -> Self:
        """From its row, with team and publisher."""
        return cls.taken_from(
            row,
            team=row.team.slug if row.team else None,
            published_by=row.published_by.username if row.published_by else None,
        )

    @classmethod
    def built_in(cls, content: dict[str, Any] | None) -> Self:
        """What holds until somebody publishes."""
        return cls(team=None, version=None, content=content, published_by=None, published_at=None)


class EscalationPolicyIn(Body):
    """What a policy's file says. Without `team` it holds for every team that has none of its own."""

    team: str = ""
    clock: str = "business"
    when_paused: str = "freeze"
    acknowledge_minutes: int = 15
    after_last: str = "hold"
    emergency: list[str] = []
    levels: list[dict[str, Any]]
    request_id: UUID | None = None


class CalendarIn(Body):
    """What a calendar's file says; likewise."""

    team: str = ""
    zone: str = "UTC"
    hours: dict[str, str | list[str]] | None = None
    holidays: dict[str, str] = {}
    request_id: UUID | None = None


@policies.get(
    "", response=Page[PublishedOut], operation_id="list_escalation", summary="Escalation policies that are in force"
)
def list_escalation(request: ActorRequest, filters: Query[Filters]) -> Page[PublishedOut]:
    """Those of your teams, and the one for all; newest first."""
    return _listed(request, EscalationPolicy.objects.in_force(), filters)


@policies.get(
    "/{team}", response=PublishedOut, operation_id="get_escalation", summary="Who is asked for a team, and when"
)
def get_escalation(request: ActorRequest, team: str) -> PublishedOut:
    """What holds: its own policy, that of every team, or the one that is built in."""
    found = _team(request, team)
    if found is None:
        raise errors.Missing()
    row = EscalationPolicy.objects.for_team(found.pk).select_related("team", "published_by").first()
    return PublishedOut.of(row) if row else PublishedOut.built_in(publishing.policy_of(found.pk)[1])


@policies.post("", response=PublishedOut, operation_id="publish_escalation", summary="Publish an escalation policy")
def publish_escalation(request: ActorRequest, body: EscalationPolicyIn) -> PublishedOut:
    """It holds for questions that open from then on; the same content again is the version in force."""
    _require_seen(request, body.team)
    given = body.model_dump(exclude={"request_id"}, exclude_unset=True)
    return PublishedOut.of(publishing.publish_policy(given, by=request.actor, request_id=body.request_id))


@calendars.get("", response=Page[PublishedOut], operation_id="list_calendars", summary="Calendars that are in force")
def list_calendars(request: ActorRequest, filters: Query[Filters]) -> Page[PublishedOut]:
    """Those of your teams, and the one for all; newest first."""
    return _listed(request, BusinessCalendar.objects.in_force(), filters)


@calendars.get("/{team}", response=PublishedOut, operation_id="get_calendar", summary="When a team is at work")
def get_calendar(request: ActorRequest, team: str) -> PublishedOut:
    """What holds: its own calendar, or that of every team; `content` is null where every hour counts."""
    found = _team(request, team)
    if found is None:
        raise errors.Missing()
    row = BusinessCalendar.objects.for_team(found.pk).select_related("team", "published_by").first()
    return PublishedOut.of(row) if row else PublishedOut.built_in(None)


@calendars.post("", response=PublishedOut, operation_id="publish_calendar", summary="Publish a calendar")
def publish_calendar(request: ActorRequest, body: CalendarIn) -> PublishedOut:
    """The clocks of questions that open from then on keep these hours."""
    _require_seen(request, body.team)
    given = body.model_dump(exclude={"request_id"}, exclude_none=True, exclude_unset=True)
    return PublishedOut.of(publishing.publish_calendar(given, by=request.actor, request_id=body.request_id))


def _listed(request: ActorRequest, rows: PublishedQuerySet, filters: Filters) -> Page[PublishedOut]:
    everywhere, teams = request.actor.places(Permission.SEE)
    shown = rows if everywhere else rows.filter(team__in=teams) | rows.filter(team=None)
    page = cut(shown.select_related("team", "published_by"), key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[PublishedOut.of(row) for row in page.rows], next_cursor=page.next_cursor)


def _team(request: ActorRequest, slug: str) -> Team | None:
    """The team of that slug, where one sees it."""
    everywhere, teams = request.actor.places(Permission.SEE)
    found: Team | None = Team.objects.filter(slug=slug).first()
    return found if found is not None and (everywhere or found.pk in teams) else None


def _require_seen(request: ActorRequest, slug: str) -> None:
    """A team in a body that one does not see is not there."""
    if slug and _team(request, slug) is None:
        raise errors.Invalid(f"`team` is {slug!r}; it is the slug of one of your teams.", field="team")
