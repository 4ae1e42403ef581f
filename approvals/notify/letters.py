"""E-mail: one letter for everything that waits for one person, however many requests came at once.

Plain text: it is read on phones, in terminals and by screen readers, and carries a link and nothing that loads.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMessage
from django.urls import reverse
from django.utils import timezone

from agents.models import User
from approvals.notify import links
from approvals.notify.models import About, Endpoint, Notification

SHOWN = 50


def zone_of(person: User) -> ZoneInfo:
    """Where a person reads times, as far as they have said."""
    return person.tzinfo or ZoneInfo(settings.TIME_ZONE)


def to_person(person: User, told: Sequence[Notification]) -> EmailMessage:
    """A letter about these, the oldest first; a digest comes last."""
    news = [one for one in told if one.about != About.DIGEST]
    digests = [one for one in told if one.about == About.DIGEST]
    parts = [_line(one, zone_of(person)) for one in news[:SHOWN]]
    if len(news) > SHOWN:
        parts.append(f"… and {len(news) - SHOWN} more: {_address('approvals:approvals')}")
    parts += ["\n".join([one.title, "", *one.content.get("lines", [])]) for one in digests]
    parts.append(f"When you get mail: {_address('notify:settings')}")
    return _letter(_subject([*news, *digests]), "\n\n".join(parts), person.email, about=told[0])


def to_endpoint(endpoint: Endpoint, notification: Notification) -> EmailMessage:
    """A letter to an address of a team."""
    parts = [_line(notification, ZoneInfo(settings.TIME_ZONE)), f"Sent to {endpoint.name} of {endpoint.team}."]
    return _letter(notification.title, "\n\n".join(parts), endpoint.address, about=notification)


def _line(one: Notification, zone: ZoneInfo) -> str:
    if one.approval is None:
        return one.title
    approval = one.approval
    facts = [f"{approval.agent.slug} · {approval.tool}"]
    if approval.is_open:
        facts.append(f"due {timezone.localtime(approval.due_at, zone):%d %b %H:%M %Z}")
    return f"{one.title}\n  {' · '.join(facts)}\n  {links.to(approval.pk, at=timezone.now())}"


def _subject(told: Sequence[Notification]) -> str:
    """One thing by its name, several by their number."""
    if len(told) == 1:
        return told[0].title
    asked = sum(one.about in (About.OPENED, About.ESCALATED) for one in told)
    if not asked:
        return f"{len(told)} notifications"
    return f"{asked} decision{'s' * (asked != 1)} needed" + f" and {len(told) - asked} more" * (asked != len(told))


def _letter(subject: str, text: str, to: str, *, about: Notification) -> EmailMessage:
    """`Message-ID` names the notification: a mail server that got it twice may see so."""
    line = " ".join(subject.split())
    host = urlsplit(settings.PUBLIC_URL).hostname or "cockpit"
    headers = {"Message-ID": f"<{about.pk}@{host}>", "Auto-Submitted": "auto-generated"}
    return EmailMessage(f"[{settings.ORGANISATION}] {line}"[:200], text + "\n", to=[to], headers=headers)


def _address(name: str) -> str:
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse(name)}"
