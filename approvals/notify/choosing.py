"""What a person chose: mail at once, once a day at an hour of theirs, or never; and when the next digest is due."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import User
from approvals.notify.letters import zone_of
from approvals.notify.models import About, Notification, Preference

USUAL_HOUR = 8


def preference_of(person: User) -> Preference:
    """What this person chose, or what holds until they do (not stored yet)."""
    stored = Preference.objects.filter(person=person).first()
    return stored or Preference(person=person, digest_at=following(USUAL_HOUR, zone_of(person), timezone.now()))


def following(hour: int, zone: ZoneInfo, after: datetime) -> datetime:
    """The next time it is that hour there. An hour that the clocks skip is the one behind it, one that they repeat is
    its first."""
    day = after.astimezone(zone).date()
    moments = (datetime.combine(day + timedelta(days=n), time(hour), zone).astimezone(UTC) for n in range(3))
    return next(moment for moment in moments if moment > after)


def choose(person: User, *, mine: str, rest: str, hour: int, email: str | None = None) -> Preference:
    """Store it; mail that waits already goes out as it says now. `email` is the address, None leaves it as it is."""
    when = Preference.When
    for name, value in (("mine", mine), ("rest", rest)):
        if value not in when.values:
            raise errors.Invalid(f"`{name}` is one of {', '.join(when.values)}, not {value!r}.", field=name)
    if not 0 <= hour <= 23:
        raise errors.Invalid(f"`hour` is one from 0 to 23, not {hour}.", field="hour")
    if email:
        require_address(email.strip(), field="email")
    due = following(hour, zone_of(person), timezone.now())
    with transaction.atomic():
        if email is not None:
            _move(person, email.strip())
        chosen: dict[str, Any] = {"mine": mine, "rest": rest, "hour": hour}
        stored, _ = Preference.objects.update_or_create(person=person, defaults=chosen | {"digest_at": due})
        _apply(stored)
        audit.record("person.notifications_chosen", about=person, by=person, **chosen)
    return stored


def _move(person: User, email: str) -> None:
    """Mail goes to another address, or to none. The log keeps that, and the address only where the account is."""
    if email != person.email:
        person.email = email
        person.save(update_fields=["email"])
        audit.record("person.address_changed", about=person, by=person)


def require_address(address: str, *, field: str) -> None:
    """Refuse what cannot be an address for e-mail."""
    try:
        validate_email(address)
    except ValidationError:
        raise errors.Invalid(f"`{field}` must be one such as ops@example.com, not {address!r}.", field=field) from None


def zone_changed(person: User) -> None:
    """The person lives by another clock now: their hour comes at another moment."""
    with transaction.atomic():
        stored = Preference.objects.select_for_update().filter(person=person).first()
        if stored:
            stored.digest_at = following(stored.hour, zone_of(person), timezone.now())
            stored.save(update_fields=["digest_at"])
            _apply(stored)


def _apply(chosen: Preference) -> None:
    mail = Notification.objects.filter(channel=Notification.Channel.EMAIL, state=Notification.State.WAITING)
    waiting = mail.filter(person=chosen.person_id, attempts=0).exclude(about=About.DIGEST)
    if chosen.mine == Preference.When.OFF:
        waiting.update(state=Notification.State.DROPPED, error="The person chose to get no mail.")
    elif chosen.mine == Preference.When.DIGEST:
        waiting.update(due_at=chosen.digest_at)
    else:
        waiting.update(due_at=timezone.now())


def enrol() -> int:
    """Everybody who can get mail has a digest until they choose otherwise."""
    now, zone = timezone.now(), settings.TIME_ZONE
    people = User.objects.filter(kind=User.Kind.PERSON, is_active=True, notified__isnull=True).exclude(email="")
    rows = [
        Preference(person=one, digest_at=following(USUAL_HOUR, ZoneInfo(one.zone or zone), now)) for one in people[:500]
    ]
    Preference.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)
