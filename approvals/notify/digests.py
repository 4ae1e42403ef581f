"""The digest: once a day, at an hour of the person's own, what happened in their teams and what waits there.

It is counted from the approvals themselves when it is due: nothing is kept for it, and a day on which nothing happened
and nothing waits has no digest.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from agents.models import User
from approvals.models import Approval, ApprovalQuerySet
from approvals.notify import choosing
from approvals.notify.letters import zone_of
from approvals.notify.models import About, Notification, Preference

BATCH = 100
PERIOD = timedelta(days=1)
WAITING = 10


def write_due(limit: int = BATCH) -> int:
    """Write what is due now; answers for how many people the next day was set. Any number of processes may do so."""
    with transaction.atomic():
        now = timezone.now()
        due = Preference.objects.select_for_update(skip_locked=True, of=("self",)).select_related("person")
        chosen = list(due.filter(digest_at__lte=now).order_by("digest_at")[:limit])
        for one in chosen:
            if one.rest == Preference.When.DIGEST and one.person.is_active and one.person.email:
                _write(one.person, now)
            one.digest_at = choosing.following(one.hour, zone_of(one.person), now)
            one.save(update_fields=["digest_at"])
    return len(chosen)


def _write(person: User, now: datetime) -> None:
    lines = told(person, now)
    if lines:
        day = timezone.localtime(now, zone_of(person))
        Notification.objects.create(
            about=About.DIGEST,
            channel=Notification.Channel.EMAIL,
            person=person,
            title=f"Your teams in the day up to {day:%d %b %H:%M %Z}",
            content={"lines": lines},
        )


def told(person: User, now: datetime) -> list[str]:
    """The digest of a person, a line each; empty when there is nothing to tell."""
    seen: ApprovalQuerySet = Approval.objects.visible_to(person)
    since = now - PERIOD
    asked = seen.filter(pk__gte=first_id(since)).values("team__name").annotate(n=Count("pk")).order_by("team__name")
    decided = seen.filter(decided_at__gte=since).values("team__name", "state").annotate(n=Count("pk"))
    expired = seen.filter(pk__gte=first_id(since), state=Approval.State.EXPIRED).count()
    lines = [f"{row['team__name']}: {row['n']:,} asked" for row in asked]
    lines += [f"{row['team__name']}: {row['n']:,} {row['state']}" for row in decided.order_by("team__name", "state")]
    if expired:
        lines.append(f"{expired:,} expired without a decision")
    return lines + _waiting(seen, now)


def _waiting(seen: ApprovalQuerySet, now: datetime) -> list[str]:
    waiting = list(seen.open()[: WAITING + 1])
    if not waiting:
        return []
    lines = ["", "Still waiting, the nearest deadline first:"]
    for one in waiting[:WAITING]:
        late = now - one.due_at
        lines.append(f"- {one}" + (f" (late by {_words(late)})" if late > timedelta(0) else ""))
    return lines + (["- … and more"] if len(waiting) > WAITING else [])


def _words(length: timedelta) -> str:
    minutes = int(length.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def first_id(moment: datetime) -> UUID:
    """The smallest id (UUIDv7, RFC 9562) of that millisecond: ids are indexed by team, moments of asking are not."""
    return UUID(int=int(moment.astimezone(UTC).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
