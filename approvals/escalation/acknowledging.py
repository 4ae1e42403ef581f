"""Acknowledging: somebody has a question in hand. It quiets the ladder for a while and decides nothing.

Opening a question, claiming it and voting on it say the same. An acknowledgement that is not followed by a decision
lapses.
"""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import User
from approvals import asking, duties, signals
from approvals.escalation import pausing
from approvals.escalation.clocks import Clock
from approvals.escalation.ladder import Ladder
from approvals.models import Approval

VERB = "approval.acknowledged"


def acknowledge(approval: Approval, *, by: User) -> Approval:
    """Say that one looks at it. Twice by the same person is once. Raises `Forbidden` for those who may not decide it,
    which is kept, and `Conflict` where it is closed or in somebody else's hands."""
    if sentence := duties.refusal(by, approval):
        audit.refuse(VERB, about=approval, by=by, because=sentence)
    with transaction.atomic():
        found = _lock(approval)
        if not found.is_open:
            raise errors.Conflict(f"Nobody needs to answer this any more: it is {found.state}.")
        if found.acknowledged_by and found.acknowledged_by_id != by.pk:
            at = timezone.localtime(found.acknowledged_at)
            raise errors.Conflict(f"{found.acknowledged_by.name} has acknowledged this, {at:%H:%M}.")
        if found.acknowledged_by_id is None:
            _take(found, by)
    return found


def note(approval: Approval, *, by: User) -> None:
    """Somebody who may decide it opened it: theirs, unless it is in somebody's hands already."""
    is_free = approval.is_open and approval.ladder and approval.acknowledged_at is None
    if is_free and not duties.refusal(by, approval):
        _note(approval, by)


@transaction.atomic
def _note(approval: Approval, by: User) -> None:
    found = _lock(approval)
    if found.is_open and found.ladder and found.acknowledged_at is None:
        _take(found, by)
    for name in ("acknowledged_by", "acknowledged_at", "next_due_at"):
        setattr(approval, name, getattr(found, name))


def note_claim(approval_id: UUID) -> None:
    """A claim changed: whoever holds it now has it in hand. That they may is what claiming has checked."""
    held = Approval.objects.filter(pk=approval_id, acknowledged_at=None, claimed_by__isnull=False)
    one = held.select_related("claimed_by").first()
    if one and one.held_by:
        _note(one, one.held_by)


def note_vote(approval_id: UUID, *, by: User) -> None:
    """Somebody gave one of several votes. The others have as long as any acknowledgement lasts before it goes on up."""
    if one := Approval.objects.filter(pk=approval_id, acknowledged_at=None).first():
        _note(one, by)


def _lock(approval: Approval) -> Approval:
    related = ("acknowledged_by", "agent", "team")
    found: Approval = Approval.objects.select_for_update(of=("self",)).select_related(*related).get(pk=approval.pk)
    return found


def _take(found: Approval, by: User) -> None:
    found.acknowledged_by, found.acknowledged_at = by, timezone.now()
    if found.ladder:
        ladder = Ladder.of(found.ladder)
        clock = Clock.of(pausing.intervals_of([found])[found.pk], ladder.calendar)
        found.next_due_at = pausing.next_due(found, ladder, clock)
    found.save(update_fields=["acknowledged_by", "acknowledged_at", "next_due_at"])
    audit.record(VERB, about=found, by=by, **asking.links(found))
    signals.approval_turned.send(Approval, **asking.subject(found))
