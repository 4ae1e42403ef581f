"""What waits for people, and how well it is kept: lists of questions, their filters, and the share decided in time."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Count, Exists, F, Min, OuterRef, Q
from django.utils import timezone

from agents import errors
from agents.keyset import Cut, cut
from agents.models import Agent, User
from approvals.bulk import grouping
from approvals.bulk.models import BulkDecision, BulkItem
from approvals.escalation.ladder import What
from approvals.models import SLO, Approval, ApprovalQuerySet, Escalation

ALL = "all"
MINE, FREE = "mine", "free"
TARGET = 0.95
"""Which share of questions is to be decided in time."""
MOST_COUNTED = 1000
AGENTS_OFFERED = 12


@dataclass(frozen=True, slots=True)
class Filters:
    """Which questions: those open unless another state, or all, is named."""

    state: str = ""
    kind: str = ""
    agent: str = ""
    claim: str = ""
    bulk: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Out of an address; a value that cannot exist is refused and not answered with an empty list."""
        state, kind = given.get("state", ""), given.get("kind", "")
        if state not in ("", ALL, *Approval.State.values):
            known = ", ".join((*Approval.State.values, ALL))
            raise errors.Invalid(f"`state` cannot be {state!r}; it can be {known}.", field="state")
        if kind not in ("", *Approval.Kind.values):
            raise errors.Invalid(
                f"`kind` cannot be {kind!r}; it can be {', '.join(Approval.Kind.values)}.", field="kind"
            )
        claim = given.get("claim", "")
        if claim not in ("", MINE, FREE):
            raise errors.Invalid(f"`claim` cannot be {claim!r}; it can be {MINE}, {FREE}.", field="claim")
        return cls(state, kind, given.get("agent", ""), claim, _job(given.get("bulk", "")))

    @property
    def as_query(self) -> str:
        """As they stand in an address."""
        return urlencode({name: value for name, value in asdict(self).items() if value})

    @property
    def as_words(self) -> str:
        """As one types them."""
        return " ".join(f"{name}:{value}" for name, value in asdict(self).items() if value)

    @property
    def is_queue(self) -> bool:
        """Whether this is what waits, the nearest deadline first; everything else is a log, newest first."""
        return self.state in ("", Approval.State.OPEN)

    @property
    def is_narrow(self) -> bool:
        """Whether rows may be hidden by a choice."""
        return bool(self.state or self.kind or self.agent or self.claim or self.bulk)


def _job(text: str) -> str:
    try:
        return str(UUID(text)) if text else ""
    except ValueError:
        raise errors.Invalid("`bulk` is the id of a bulk decision.", field="bulk") from None


def select(user: User, filters: Filters) -> ApprovalQuerySet:
    """The questions of one's teams that match."""
    found: ApprovalQuerySet = Approval.objects.visible_to(user)
    if filters.is_queue:
        found = found.open()
    elif filters.state != ALL:
        found = found.filter(state=filters.state)
    if filters.kind:
        found = found.filter(kind=filters.kind)
    if filters.agent:
        found = found.filter(agent__slug=filters.agent)
    if filters.claim:
        found = found.held_by(user) if filters.claim == MINE else found.free_for(user)
    if filters.bulk:
        jobs = BulkDecision.objects.visible_to(user).filter(pk=filters.bulk)
        found = found.filter(bulk_items__bulk__in=jobs, bulk_items__state=BulkItem.State.LEFT)
    return found


def page(user: User, filters: Filters, *, limit: int, cursor: str = "") -> Cut[Approval]:
    """One page of the list, with what a row shows."""
    found = select(user, filters).select_related("agent", "claimed_by").defer("arguments", "preview", "bound")
    if filters.is_queue and not filters.claim and not filters.bulk:
        return grouping.counted(_cut_by_due(grouping.leaders(found), limit=limit, cursor=cursor), user)
    if filters.is_queue:
        return _cut_by_due(found, limit=limit, cursor=cursor)
    return cut(found, key="-id", limit=limit, cursor=cursor)


def _cut_by_due(found: ApprovalQuerySet, *, limit: int, cursor: str) -> Cut[Approval]:
    """Several may be due at one moment, so a place in the queue is deadline and id."""
    if cursor:
        found = found.filter(behind(*_place(cursor)))
    rows = list(found[: limit + 1])
    if len(rows) <= limit:
        return Cut(rows, None)
    last = rows[limit - 1]
    text = f"{last.due_at.isoformat()}|{last.pk}"
    return Cut(rows[:limit], urlsafe_b64encode(text.encode()).decode().rstrip("="))


def behind(due_at: datetime, pk: UUID) -> Q:
    """What stands behind a place in the queue."""
    return Q(due_at__gte=due_at) & (Q(due_at__gt=due_at) | Q(pk__gt=pk))


def _place(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
        due, _, pk = text.partition("|")
        return datetime.fromisoformat(due), UUID(pk)
    except (binascii.Error, ValueError):
        raise errors.Invalid(
            "`cursor` is not one that this list gave; leave it out to begin again.", field="cursor"
        ) from None


def following(approval: Approval, user: User, filters: Filters) -> UUID | None:
    """The question to show once this one is decided: the next in the queue, or the first one again."""
    waiting = select(user, replace(filters, state="")).exclude(pk=approval.pk)
    first: UUID | None = waiting.filter(behind(approval.due_at, approval.pk)).values_list("pk", flat=True).first()
    return first or waiting.values_list("pk", flat=True).first()


def waiting_for(user: User) -> int:
    """How many open questions this person's roles allow them to answer; counted to a thousand."""
    return int(Approval.objects.answerable_by(user).open()[:MOST_COUNTED].count())


def agents_asking(user: User) -> list[str]:
    """Slugs of agents with open questions, to offer as filters; not all of very many."""
    asked = Approval.objects.filter(agent=OuterRef("pk"), state=Approval.State.OPEN)
    asking = Agent.objects.visible_to(user).filter(Exists(asked)).order_by("slug")
    return list(asking.values_list("slug", flat=True)[:AGENTS_OFFERED])


@dataclass(frozen=True, slots=True)
class Standing:
    """Open questions of one kind in one team: how many, how many of them late, the age of the oldest in seconds."""

    kind: str
    team: str
    open: int
    overdue: int
    oldest_s: float


def standing() -> list[Standing]:
    """What people are asked at this moment, in every team."""
    now = timezone.now()
    rows = Approval.objects.filter(state=Approval.State.OPEN).values("kind", "team__slug").order_by()
    late = Count("pk", filter=overdue(now))
    return [
        Standing(
            row["kind"], row["team__slug"], row["asked"], row["late"], max((now - row["since"]).total_seconds(), 0)
        )
        for row in rows.annotate(asked=Count("pk"), late=late, since=Min("requested_at"))
    ]


@dataclass(frozen=True, slots=True)
class Timeliness:
    """How many were decided since a moment, how many of them in time, how many expired, how many are overdue now."""

    decided: int
    in_time: int
    expired: int
    overdue: int
    slo: timedelta = SLO
    target: float = TARGET

    @property
    def share(self) -> float | None:
        """Decided in time, of all that were decided or should have been; None while there is nothing to tell."""
        due = self.decided + self.expired + self.overdue
        return self.in_time / due if due else None


def overdue(at: datetime) -> Q:
    """Questions whose time is over: `due_at` keeps the hours of their team, and means nothing while a clock stands."""
    return Q(due_at__lt=at) & (Q(stopped_at__isnull=True) | Q(due_at__lt=F("stopped_at")))


def timeliness(user: User, *, at: datetime) -> Timeliness:
    """Today's, as the day is where the person is; of the teams they can see. Samples are left out: those have a day.
    What expired was not in time, whenever it did: leaving requests alone makes nobody faster."""
    midnight = timezone.localtime(at).replace(hour=0, minute=0, second=0, microsecond=0)
    seen = Approval.objects.visible_to(user).exclude(kind=Approval.Kind.SAMPLE)
    counts = seen.filter(decided_at__gte=midnight).aggregate(
        decided=Count("pk"), in_time=Count("pk", filter=Q(decided_at__lte=F("due_at")) | Q(stopped_at__lte=F("due_at")))
    )
    expired = Escalation.objects.filter(what=What.EXPIRED, at__gte=midnight, approval__in=seen).count()
    return Timeliness(**counts, expired=expired, overdue=seen.filter(overdue(at), state=Approval.State.OPEN).count())
