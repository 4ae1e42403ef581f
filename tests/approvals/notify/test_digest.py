"""Once a day, at an hour of the person's own: where the clocks change, too, and only when there is something."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core import mail
from django.utils import timezone

from agents.models import AuditEntry, User
from approvals.models import Approval
from approvals.notify import choosing, digests, outbox, telling
from approvals.notify.models import Notification, Preference


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "hour", "after", "due"),
    [
        ("Asia/Tokyo", 8, "2026-01-10 12:00", "2026-01-10 23:00"),
        ("America/Los_Angeles", 8, "2026-01-10 15:59", "2026-01-10 16:00"),
        ("America/Los_Angeles", 8, "2026-01-10 16:00", "2026-01-11 16:00"),
        ("Europe/Berlin", 8, "2026-03-28 08:00", "2026-03-29 06:00"),  # the clocks went forward that night
        ("Europe/Berlin", 2, "2026-03-28 23:00", "2026-03-29 01:00"),  # 02:00 does not exist: 03:00 does
        ("Europe/Berlin", 2, "2026-10-24 23:00", "2026-10-25 00:00"),  # the first of two
        ("Europe/Berlin", 2, "2026-10-25 00:00", "2026-10-26 01:00"),
    ],
)
def test_the_hour_is_that_of_the_place(zone: str, hour: int, after: str, due: str) -> None:
    assert choosing.following(hour, ZoneInfo(zone), at(after)) == at(due)


@pytest.fixture
def tokyo(rhea: User) -> User:
    """Rhea, who works from Tokyo."""
    rhea.email, rhea.zone = "rhea@example.com", "Asia/Tokyo"
    rhea.save()
    return rhea


@pytest.mark.django_db
def test_a_digest_in_another_time_zone(tokyo: User, asked: Approval) -> None:
    stored = choosing.choose(tokyo, mine="digest", rest="digest", hour=8)
    assert timezone.localtime(stored.digest_at, ZoneInfo("Asia/Tokyo")).hour == 8
    telling.tell()
    assert outbox.deliver_mail() == 0, "what concerns her waits for the digest, too"
    due = timezone.now() - timedelta(minutes=1)
    Preference.objects.update(digest_at=due)
    Notification.objects.filter(channel="email").update(due_at=due)
    assert (digests.write_due(), digests.write_due()) == (1, 0)
    assert outbox.deliver_mail() == 1
    [letter] = mail.outbox
    assert "Decision needed: Refund" in letter.body
    assert "Service: 1 asked" in letter.body
    assert "JST" in letter.body
    stored.refresh_from_db()
    assert timezone.now() < stored.digest_at < timezone.now() + timedelta(days=1)


@pytest.mark.django_db
def test_a_day_without_anything_has_no_digest(tokyo: User, stranger: User) -> None:
    choosing.enrol()
    Preference.objects.update(digest_at=timezone.now())
    assert digests.write_due() == 1
    assert not Notification.objects.exists()


@pytest.mark.django_db
def test_a_digest_tells_of_ones_own_teams_only(tokyo: User, stranger: User, asked: Approval) -> None:
    now = timezone.now()
    assert digests.told(tokyo, now) != []
    assert digests.told(stranger, now) == []


@pytest.mark.django_db
def test_everybody_with_an_address_is_enrolled_once(tokyo: User, olga: User) -> None:
    assert (choosing.enrol(), choosing.enrol()) == (1, 0)
    stored = Preference.objects.get()
    assert (stored.person, stored.rest) == (tokyo, "digest")
    assert timezone.localtime(stored.digest_at, ZoneInfo("Asia/Tokyo")).hour == choosing.USUAL_HOUR


@pytest.mark.django_db
def test_choosing_counts_for_what_waits_already(tokyo: User, asked: Approval) -> None:
    telling.tell()
    waits = Notification.objects.get(channel="email")
    stored = choosing.choose(tokyo, mine="digest", rest="off", hour=20)
    waits.refresh_from_db()
    assert waits.due_at == stored.digest_at
    tokyo.zone = "America/Lima"
    tokyo.save()
    choosing.zone_changed(tokyo)
    waits.refresh_from_db()
    assert timezone.localtime(waits.due_at, ZoneInfo("America/Lima")).hour == 20
    choosing.choose(tokyo, mine="off", rest="off", hour=20)
    waits.refresh_from_db()
    assert waits.state == "dropped"
    assert AuditEntry.objects.filter(verb="person.notifications_chosen", by=tokyo).count() == 2


@pytest.mark.django_db
def test_ids_begin_where_moments_do(asked: Approval) -> None:
    assert digests.first_id(asked.requested_at - timedelta(seconds=1)) < asked.pk
    assert digests.first_id(asked.requested_at + timedelta(seconds=1)) > asked.pk
