"""What a person reads in the cockpit: what concerned them, the newest first, and how much of it is new."""

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from agents.keyset import Cut, cut
from agents.models import Permission, User
from approvals import signals
from approvals.notify.models import Notification

MOST_COUNTED = 100


def own(person: User) -> QuerySet[Notification]:
    """Everything this person was told in the cockpit."""
    return Notification.objects.filter(person=person, channel=Notification.Channel.IN_APP)


def page(person: User, *, limit: int, cursor: str = "") -> Cut[Notification]:
    """One page of it. A request of a team that one has left since is not shown any more."""
    everywhere, teams = person.places(Permission.SEE)
    shown = own(person) if everywhere else own(person).filter(approval__team__in=teams)
    return cut(shown.select_related("approval__agent"), key="-id", limit=limit, cursor=cursor)


def unseen(person: User) -> int:
    """How much is new; counted to a hundred."""
    return int(own(person).filter(seen_at__isnull=True)[:MOST_COUNTED].count())


def see(person: User, approval_id: UUID | None = None) -> None:
    """Note that it was read: all of it, or what was about one request."""
    with transaction.atomic():
        unread = own(person).filter(seen_at__isnull=True)
        if approval_id:
            unread = unread.filter(approval=approval_id)
        if unread.update(seen_at=timezone.now()):
            signals.people_notified.send(Notification, people=[person.pk])
