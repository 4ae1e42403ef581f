"""Publishing calendars and escalation policies: one verb for pages and commands. Each is a version of its own; what
is in force changes for questions that open from then on, never for one that is open."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import AuditEntry, Permission, Team, User
from agents.people import teams
from agents.people.models import GRANTS
from approvals.escalation import written
from approvals.escalation.ladder import Json
from approvals.escalation.models import BusinessCalendar, EscalationPolicy, Published

BUILT_IN = "built in"
EVERYWHERE = audit.Subject("team", "", "every team")


def publish_policy(given: Json, *, by: User | None, request_id: UUID | None = None) -> EscalationPolicy:
    """Check a policy and let it govern its team's questions. The same content again is the version in force.

    Raises `errors.Invalid` naming table and key, or `errors.Forbidden`, which is kept.
    """
    slug, content = written.policy(given)
    team = _team(slug)
    _require(by, team, "escalation.published")
    _require_people(content, team)
    more = {"request_id": request_id, "after_last": content["after_last"]}
    found: EscalationPolicy = _publish(EscalationPolicy, team, content, by=by, **more)
    return found


def checked_policy(given: Json) -> Json:
    """The content that would be published; nothing is."""
    slug, content = written.policy(given)
    _require_people(content, _team(slug))
    return content


def publish_calendar(given: Json, *, by: User | None, request_id: UUID | None = None) -> BusinessCalendar:
    """Check a calendar and let it count its team's hours; likewise."""
    slug, content = written.calendar(given)
    team = _team(slug)
    _require(by, team, "calendar.published")
    found: BusinessCalendar = _publish(BusinessCalendar, team, content, by=by, request_id=request_id)
    return found


def policy_of(team_id: UUID | None) -> tuple[str, Json]:
    """The name and content of the policy that holds for a team; until one is published, the one that is built in."""
    row = EscalationPolicy.objects.for_team(team_id).select_related("team").first()
    return (str(row), row.content) if row else (BUILT_IN, written.DEFAULT)


def calendar_of(team_id: UUID | None) -> Json | None:
    """The hours of a team; None where every moment counts."""
    content: Json | None = BusinessCalendar.objects.for_team(team_id).values_list("content", flat=True).first()
    return content


def governing(team_ids: Iterable[UUID]) -> dict[UUID, tuple[str, Json, Json | None]]:
    """What holds for each of many teams, in two queries: the policy's name and content, and the hours."""
    rows = EscalationPolicy.objects.in_force().select_related("team")
    policies = {row.team_id: (str(row), row.content) for row in rows}
    hours = dict(BusinessCalendar.objects.in_force().values_list("team_id", "content"))
    fallback = policies.get(None, (BUILT_IN, written.DEFAULT))
    return {one: (*policies.get(one, fallback), hours.get(one, hours.get(None))) for one in team_ids}


def may_publish(by: User, team: Team | None) -> bool:
    """Whether somebody may change what governs a team, or all of them."""
    everywhere, _ = by.places(Permission.PUBLISH)
    return by.may(Permission.PUBLISH, team.pk) if team else by.is_active and everywhere


def _team(slug: str) -> Team | None:
    return teams.named(slug) if slug else None


def _require(by: User | None, team: Team | None, verb: str) -> None:
    """Refuse whoever may not, and keep the attempt: outside the transaction that makes a version."""
    if by is None or may_publish(by, team):
        return
    why = f"This takes the role governance or admin in {team.name if team else 'every team'}."
    audit.refuse(verb, about=team or EVERYWHERE, by=by, because=why)


def _require_people(content: Json, team: Team | None) -> None:
    """Whoever it asks can decide there: a policy that asks others, or nobody, is found out when it is too late."""
    named = [(name, "targets") for one in content["levels"] for name in one["targets"]]
    for name, field in named + [(name, "emergency") for name in content["emergency"]]:
        role = name.removeprefix(written.ROLE)
        why = _role_lacks(role) if name.startswith(written.ROLE) else _person_lacks(name, team)
        if why:
            raise errors.Invalid(why, field=field)


def _role_lacks(role: str) -> str:
    deciding = sorted(GRANTS[Permission.DECIDE])
    if role in deciding:
        return ""
    able = " and ".join(f"{written.ROLE}{one}" for one in deciding)
    return f"{written.ROLE}{role} names people who cannot decide requests; {able} can."


def _person_lacks(name: str, team: Team | None) -> str:
    found = User.objects.filter(username__iexact=name, is_active=True).first()
    if found is None:
        return f"There is no active account called {name!r}; a role is written role:reviewer."
    if found.kind != User.Kind.PERSON:
        return f"{found} is no person: a program speaks through this account, and nobody reads what it is sent."
    everywhere, _ = found.places(Permission.DECIDE)
    if found.speaks_for_agent or not (found.may(Permission.DECIDE, team.pk) if team else everywhere):
        return f"{found} cannot decide requests of {team or 'every team'}: that takes the role reviewer or admin there."
    return ""


def _publish(kind: type[Any], team: Team | None, content: Json, *, by: User | None, **fields: Any) -> Any:
    try:
        with transaction.atomic():
            return _version(kind, team, content, by=by, **fields)
    except IntegrityError:  # somebody else published at this very moment
        raise errors.Conflict("Somebody else has just published another version; look at it first.") from None


def _version(
    kind: type[Published],
    team: Team | None,
    content: Json,
    *,
    by: User | None,
    request_id: UUID | None = None,
    **fields: Any,
) -> Published:
    noun = "calendar" if kind is BusinessCalendar else "escalation"
    if earlier := _earlier(kind, f"{noun}.published", request_id):
        if (earlier.team, earlier.content) != (team, content):
            raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
        return earlier
    held = kind.objects.in_force().filter(team=team).select_for_update(of=("self",))
    current: Published | None = held.first()
    if current and current.content == content:
        return current
    now = timezone.now()
    if current:
        kind.objects.filter(pk=current.pk).update(retired_at=now)
    number = (kind.objects.filter(team=team).order_by("-version").values_list("version", flat=True).first() or 0) + 1
    made = kind.objects.create(team=team, version=number, content=content, published_by=by, published_at=now, **fields)
    told: Json = {"version": number, "content": content}
    audit.record(f"{noun}.published", about=made, by=by, request_id=request_id, **told)
    return made


def _earlier(kind: type[Published], verb: str, request_id: UUID | None) -> Published | None:
    """The version that this very request has made."""
    if request_id is None:
        return None
    done = AuditEntry.objects.filter(verb=verb, request_id=request_id, outcome=AuditEntry.Outcome.DONE)
    made = done.values_list("subject_id", flat=True).first()
    found: Published | None = kind.objects.select_related("team", "published_by").filter(pk=made).first()
    return found
