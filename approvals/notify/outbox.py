"""Handing notifications over: claimed in one short transaction, sent outside any, noted in another.

Any number of processes may do so. An endpoint is a lane: who claims it holds it for a while (`next_at`), so that a slow
one occupies one sender and nobody else's messages wait behind it. Whoever dies while sending leaves a claim that ends
by itself; the message goes out again under the same id. What fails is tried again later and later; an endpoint that
fails five times in a row is switched off, one that answers 410 at once.
"""

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, When
from django.utils import timezone

from agents.audit import log as audit
from approvals import signals
from approvals.notify import channels, letters, sealing, sending, telling
from approvals.notify.models import About, Endpoint, EndpointQuerySet, Notification
from approvals.notify.sending import Outcome

log = logging.getLogger(__name__)

_random = random.SystemRandom()
LEASE = timedelta(seconds=60)
MOST_FAILURES = 5
MOST_ATTEMPTS = 8
BACK_OFF, FACTOR, LONGEST = 30.0, 4.0, 3600.0
LETTER = 500
MAIL = 7_203_772
"""The advisory lock under which mail is claimed, so that one letter takes all that waits for a person."""


def back_off(failures: int, asked: float = 0.0) -> timedelta:
    """How long to wait after that many failures in a row: 30 s, 2 min, 8 min, 32 min, 1 h, each give or take a
    quarter, so that what failed together does not come back together; at least as long as the other side asked."""
    usual = min(BACK_OFF * FACTOR ** (failures - 1), LONGEST) * _random.uniform(0.75, 1.25)
    return timedelta(seconds=max(usual, asked))


def waiting_lanes() -> int:
    """How many endpoints have something to be sent now."""
    return int(_lanes(timezone.now()).count())


def deliver(most: int = 1000) -> int:
    """Send what is due to endpoints until nothing is, or so many were tried; answers how many."""
    return next((count for count in range(most) if not deliver_one()), most)


def deliver_one() -> bool:
    """Send one notification to one endpoint; False when nothing is due."""
    claimed = _claim()
    if claimed is None:
        return False
    _note(claimed, _send(claimed))
    return True


# --- endpoints -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Claimed:
    """One notification and the lane it goes down, ours until `until`."""

    notification: Notification
    endpoint: Endpoint
    until: datetime


def _lanes(now: datetime) -> EndpointQuerySet:
    due = Notification.objects.filter(
        endpoint=OuterRef("pk"), channel=Notification.Channel.ENDPOINT, state=Notification.State.WAITING
    )
    on, tests = Q(Exists(due), off_at__isnull=True), Q(Exists(due.filter(about=About.TEST)), off_at__isnull=False)
    found: EndpointQuerySet = Endpoint.objects.standing().filter(on | tests, next_at__lte=now)
    return found


def _claim() -> Claimed | None:
    """The lane that has waited longest, whose `next_at` alone says when it is tried; of it a test first, then what was
    tried least, then the oldest."""
    with transaction.atomic():
        now = timezone.now()
        lanes = _lanes(now).select_for_update(skip_locked=True, of=("self",)).select_related("team")
        endpoint = lanes.order_by("next_at").first()
        if endpoint is None:
            return None
        waiting = Notification.objects.filter(
            endpoint=endpoint, channel=Notification.Channel.ENDPOINT, state=Notification.State.WAITING
        )
        if endpoint.is_off:
            waiting = waiting.filter(about=About.TEST)
        tests_first = Case(When(about=About.TEST, then=0), default=1)
        notification = waiting.select_related("approval__agent").order_by(tests_first, "attempts", "id").first()
        if notification is None:  # dropped a moment ago
            return None
        notification.attempts += 1
        notification.save(update_fields=["attempts"])
        endpoint.next_at = now + LEASE
        endpoint.save(update_fields=["next_at"])
    return Claimed(notification, endpoint, endpoint.next_at)


def _send(claimed: Claimed) -> Outcome:
    """Outside any transaction; whatever goes wrong is an outcome."""
    notification, endpoint = claimed.notification, claimed.endpoint
    if endpoint.kind == Endpoint.Kind.EMAIL:
        return _post(letters.to_endpoint(endpoint, notification))
    try:
        call = channels.call(notification, endpoint, sealing.secret_of(endpoint))
    except sealing.NoSecret as error:
        return Outcome(error=str(error))
    return sending.post(call.address, call.body, call.headers)


def _note(claimed: Claimed, outcome: Outcome) -> None:
    """Keep what came of it. A lane that somebody else holds by now is theirs to judge."""
    with transaction.atomic():
        endpoint = Endpoint.objects.select_for_update(of=("self",)).select_related("team").get(pk=claimed.endpoint.pk)
        is_ours = endpoint.next_at == claimed.until
        if is_ours:
            _judge(endpoint, outcome, is_test=claimed.notification.about == About.TEST)
        notification = claimed.notification
        notification.status, notification.error = outcome.status, outcome.error
        changes = _changes(notification, outcome, due_at=endpoint.next_at if is_ours else notification.due_at)
        Notification.objects.filter(pk=notification.pk, state=Notification.State.WAITING).update(**changes)
        signals.endpoint_changed.send(Endpoint, endpoint_id=endpoint.pk)


def _changes(notification: Notification, outcome: Outcome, *, due_at: datetime) -> dict[str, object]:
    told: dict[str, object] = {"status": outcome.status, "error": outcome.error}
    if not outcome.error:
        return told | {"state": Notification.State.DELIVERED, "delivered_at": timezone.now()}
    if notification.about == About.TEST or notification.attempts >= MOST_ATTEMPTS:
        return told | {"state": Notification.State.FAILED}
    return told | {"due_at": due_at}


def _judge(endpoint: Endpoint, outcome: Outcome, *, is_test: bool) -> None:
    """What one try says about an endpoint. A test that fails tells the person who pressed, and counts for nothing."""
    now = timezone.now()
    if not outcome.error:
        endpoint.failures, endpoint.next_at = 0, now
    elif is_test and not outcome.gone:
        endpoint.next_at = now + back_off(endpoint.failures) if endpoint.failures else now
    else:
        endpoint.failures += 1
        endpoint.next_at = now + back_off(endpoint.failures, outcome.retry_after)
        if not endpoint.is_off and (outcome.gone or endpoint.failures >= MOST_FAILURES):
            _switch_off(endpoint, outcome, now)
    endpoint.save(update_fields=["failures", "next_at", "off_at", "off_because"])


def _switch_off(endpoint: Endpoint, outcome: Outcome, now: datetime) -> None:
    why = (
        "It says that it is gone (410)."
        if outcome.gone
        else f"It failed {endpoint.failures} times in a row. {outcome.error}"
    )
    endpoint.off_at, endpoint.off_because = now, why
    audit.record("endpoint.switched_off", about=endpoint, by=None, reason=why, failures=endpoint.failures)


# --- mail ------------------------------------------------------------------------------------------------------------
def deliver_mail(most: int = 1000) -> int:
    """Send one letter to everybody for whom something waits; answers how many letters were tried."""
    return next((count for count in range(most) if not _deliver_letter()), most)


def _deliver_letter() -> bool:
    told = _claim_letter()
    if not told:
        return False
    person = told[0].person
    if person is not None and person.is_active and person.email:
        _note_letter(told, _post(letters.to_person(person, told)))
    else:
        _note_letter(told, Outcome(error="This person gets no mail any more."), again=False)
    return True


def _claim_letter() -> list[Notification]:
    """Everything that waits for the person who has waited longest."""
    now = timezone.now()
    due = Notification.objects.filter(
        channel=Notification.Channel.EMAIL, state=Notification.State.WAITING, due_at__lte=now
    )
    with transaction.atomic():
        if not telling.alone(MAIL):
            return []
        first = due.order_by("due_at", "id").first()
        if first is None:
            return []
        chosen = list(due.filter(person=first.person_id).order_by("id").values_list("pk", flat=True)[:LETTER])
        for_them = Notification.objects.filter(pk__in=chosen)
        for_them.update(due_at=now + LEASE, attempts=F("attempts") + 1)
        return list(for_them.select_related("person", "approval__agent").order_by("id"))


def _note_letter(told: list[Notification], outcome: Outcome, *, again: bool = True) -> None:
    now, tried = timezone.now(), max(one.attempts for one in told)
    changes: dict[str, object] = {"error": outcome.error}
    if not outcome.error:
        changes |= {"state": Notification.State.DELIVERED, "delivered_at": now}
    elif again and tried < MOST_ATTEMPTS:
        changes["due_at"] = now + back_off(tried)
    else:
        changes["state"] = Notification.State.FAILED
    waiting = Notification.objects.filter(pk__in=[one.pk for one in told], state=Notification.State.WAITING)
    waiting.update(**changes)


def _post(letter: EmailMessage) -> Outcome:
    try:
        letter.send()
    except (OSError, SMTPException, ValueError) as error:
        log.warning("A letter was not sent: %s", error)
        return Outcome(error=f"The mail server did not take it: {str(error)[:200] or type(error).__name__}")
    return Outcome()
