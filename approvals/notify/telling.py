"""From a fact to notifications: who hears of it, through which channel, and what no longer needs to be told.

People hear at once what concerns them: a decision they may make, an escalation to them, what became of what they
started. An endpoint hears what it asked for. When a request closes, what only asked for a decision is taken back:
unread lines are no longer new, mail and messages not yet sent are dropped, and alerts are resolved.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from agents.models import User
from approvals import signals
from approvals.models import Approval, Decision
from approvals.notify import contents
from approvals.notify.audience import Audience
from approvals.notify.models import CLOSING, About, Endpoint, Fact, Notification, Preference

BATCH = 200
ONLY_ONE = 7_203_771
"""The advisory lock under which facts are told: one after the other, so that a closing never overtakes its opening."""
ASKING = (About.OPENED, About.ESCALATED, About.DELEGATED)
OVER = "Nobody needed to decide any more when its turn came."


def tell(limit: int = BATCH) -> int:
    """Turn the oldest facts into notifications; answers how many facts. Another process may be at it: then none."""
    with transaction.atomic():
        if not alone(ONLY_ONE):
            return 0
        facts = _oldest(limit)
        closed = [fact.approval_id for fact in facts if fact.about in CLOSING]
        alerted = _take_back(closed)
        rows = _rows(facts, alerted)
        Notification.objects.bulk_create(rows, batch_size=1000)
        Fact.objects.filter(pk__in=[fact.pk for fact in facts]).delete()
        if people := {row.person_id for row in rows if row.channel == Notification.Channel.IN_APP}:
            signals.people_notified.send(Notification, people=people)
    return len(facts)


def alone(lock: int) -> bool:
    """Whether nobody else holds this lock; it is ours to the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        return bool(cursor.fetchone()[0])


def _oldest(limit: int) -> list[Fact]:
    related = ("agent__owner", "run__started_by__owner", "team")
    facts = Fact.objects.select_related(*(f"approval__{one}" for one in related))
    return list(facts.defer("approval__arguments", "approval__preview", "approval__bound").order_by("id")[:limit])


def _rows(facts: Sequence[Fact], alerted: dict[UUID, set[UUID]]) -> list[Notification]:
    audience, given, rows = Audience(), _decisions(facts), []
    for fact in facts:
        decision = given.get(fact.approval_id) if fact.about == About.DECIDED else None
        one = _of(fact, decision)
        for endpoint in _listening(fact, audience, alerted.get(fact.approval_id, set())):
            rows.append(one(channel=Notification.Channel.ENDPOINT, endpoint=endpoint))
        rows += _to_people(fact, audience, one, decision)
    return rows


def _of(fact: Fact, decision: Decision | None) -> Callable[..., Notification]:
    title, content = contents.title(fact, decision), contents.content(fact, decision)

    def one(**fields: Any) -> Notification:
        kept = content if "endpoint" in fields else {}
        return Notification(
            about=fact.about, approval=fact.approval, title=title, content=kept, created_at=fact.at, **fields
        )

    return one


def _decisions(facts: Iterable[Fact]) -> dict[UUID, Decision]:
    decided = [fact.approval_id for fact in facts if fact.about == About.DECIDED]
    found = Decision.objects.filter(approval__in=decided).select_related("by", "approval").order_by("at")
    return {decision.approval_id: decision for decision in found} if decided else {}


def _listening(fact: Fact, audience: Audience, alerted: set[UUID]) -> list[Endpoint]:
    """Endpoints that hear of a fact. An alert is resolved where it was raised, whatever else the endpoint wants."""
    if fact.about == About.DELEGATED:  # between two people
        return []
    teams = [fact.approval.team_id, *(UUID(team) for team in fact.teams)]
    found = audience.endpoints(teams)
    if fact.about in CLOSING:
        return [one for one in found if one.pk in alerted or (not _alerts(one) and fact.about in one.facts)]
    if fact.about == About.ESCALATED:
        found = [one for one in found if _named(fact, one)]
    else:
        found = [one for one in found if fact.about in one.facts]
    is_asked = fact.approval.is_open and not _is_sample(fact)
    return [one for one in found if is_asked or one.kind == Endpoint.Kind.WEBHOOK]


def _alerts(endpoint: Endpoint) -> bool:
    return endpoint.kind in Endpoint.ALERTING


def _named(fact: Fact, endpoint: Endpoint) -> bool:
    """A webhook follows what it wants; the rest hears of an escalation when its kind is called, or none is."""
    if endpoint.kind == Endpoint.Kind.WEBHOOK or not fact.channels:
        return fact.about in endpoint.facts
    return endpoint.kind in fact.channels


def _is_sample(fact: Fact) -> bool:
    return bool(fact.approval.kind == Approval.Kind.SAMPLE)


def _to_people(
    fact: Fact, audience: Audience, one: Callable[..., Notification], decision: Decision | None
) -> list[Notification]:
    now, rows = timezone.now(), []
    concerned = _concerned(fact, audience, decision)
    by_mail = not fact.channels or "email" in fact.channels
    for person in concerned:
        rows.append(one(channel=Notification.Channel.IN_APP, person=person, **_shown(now)))
        if by_mail and (due := mail_due(person, now)):
            rows.append(one(channel=Notification.Channel.EMAIL, person=person, due_at=due))
    told = {person.pk for person in concerned}
    for person in audience.followers(fact.approval):
        if person.pk not in told and person.email and (decision is None or person.pk != decision.by_id):
            rows.append(one(channel=Notification.Channel.EMAIL, person=person))
    return rows


def _concerned(fact: Fact, audience: Audience, decision: Decision | None) -> list[User]:
    if fact.about == About.OPENED:
        return audience.deciders(fact.approval) if fact.approval.is_open and not _is_sample(fact) else []
    if fact.about in (About.ESCALATED, About.DELEGATED):
        return audience.targets(fact) if fact.approval.is_open else []
    if fact.about == About.EXPIRED:
        everybody = [*audience.deciders(fact.approval), *audience.concerned(fact.approval)]
        return list({person.pk: person for person in everybody}.values())
    if fact.about == About.DECIDED:
        return [one for one in audience.concerned(fact.approval) if decision is None or one.pk != decision.by_id]
    return []


def _shown(now: datetime) -> dict[str, Any]:
    """A line in the cockpit is delivered by being there."""
    return {"state": Notification.State.DELIVERED, "delivered_at": now}


def mail_due(person: User, now: datetime) -> datetime | None:
    """When mail about what concerns a person goes out: now, with the next digest, or never."""
    if not person.email:
        return None
    chosen: Preference | None = getattr(person, "notified", None)
    when = chosen.mine if chosen else Preference.When.AT_ONCE
    if when == Preference.When.OFF:
        return None
    return chosen.digest_at if chosen and when == Preference.When.DIGEST else now


def _take_back(closed: Sequence[UUID]) -> dict[UUID, set[UUID]]:
    """Requests to decide are over. Answers where alerts may have been raised, by approval: those are to be resolved."""
    if not closed:
        return {}
    asked = Notification.objects.filter(approval__in=closed, about__in=ASKING)
    shown = asked.filter(channel=Notification.Channel.IN_APP, seen_at__isnull=True)
    if people := set(shown.values_list("person_id", flat=True)):
        shown.update(seen_at=timezone.now())
        signals.people_notified.send(Notification, people=people)
    alerts = asked.filter(endpoint__kind__in=Endpoint.ALERTING).exclude(attempts=0)
    raised: dict[UUID, set[UUID]] = defaultdict(set)
    for approval_id, endpoint_id in alerts.values_list("approval_id", "endpoint_id"):
        raised[approval_id].add(endpoint_id)
    unsent = asked.filter(state=Notification.State.WAITING).exclude(endpoint__kind=Endpoint.Kind.WEBHOOK)
    unsent.update(state=Notification.State.DROPPED, error=OVER)
    return raised
