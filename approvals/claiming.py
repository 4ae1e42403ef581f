"""Who is at work on a question, so that two people do not think about one at the same time.

A claim lasts a few minutes and needs nobody to end it: one that ran out does not count, and the tick only tidies up.
Others may take a claim over with a reason; nobody decides what somebody else holds.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import AuditEntry, User
from agents.runs import holds
from approvals import asking, duties, limits, signals
from approvals.models import Approval

LASTS = timedelta(minutes=10)
"""How long a claim counts; claiming again begins anew."""
ENDED_AT_ONCE = 500


def claim(approval: Approval, *, by: User, reason: str = "") -> Approval:
    """Take a question, or go on holding it. One that somebody else holds is taken over with a `reason` only. Raises
    `Forbidden` where this person may not decide it, `Conflict` where it is closed or held."""
    limits.require_short(reason)
    require(by, approval, "approval.claimed")
    with transaction.atomic():
        found = lock(approval)
        other = found.held_by
        taken_over = other is not None and other.pk != by.pk
        if taken_over and not reason.strip():
            raise errors.Conflict(f"{_held(found)} Say why you take it over, or wait.", field="reason")
        verb = "approval.taken_over" if taken_over else "approval.claimed"
        keep(found, by, timezone.now() + LASTS)
        audit.record(verb, about=found, by=by, reason=reason.strip(), **asking.links(found))
        signals.approval_claimed.send(Approval, **asking.subject(found))
    return found


def release(approval: Approval, *, by: User, reason: str = "") -> Approval:
    """Give a question back undecided. What nobody holds stays so; what somebody else holds is theirs to give back."""
    limits.require_short(reason)
    if approval.claimed_by_id != by.pk:
        require(by, approval, "approval.released")
    with transaction.atomic():
        found = lock(approval)
        other = found.held_by
        if other is not None and other.pk != by.pk:
            raise errors.Conflict(f"{_held(found)} Only {other.name} can give it back; you can take it over.")
        if found.claimed_by_id is not None:
            keep(found, None, None)
            audit.record("approval.released", about=found, by=by, reason=reason.strip(), **asking.links(found))
            signals.approval_claimed.send(Approval, **asking.subject(found))
    return found


@transaction.atomic
def expire() -> int:
    """Tidy up claims that ran out, which count for nothing already; how many. Any number of ticks share the work."""
    over = Approval.objects.filter(state=Approval.State.OPEN, claimed_until__lte=timezone.now())
    found = list(over.select_for_update(of=("self",), skip_locked=True).select_related("claimed_by")[:ENDED_AT_ONCE])
    audit.append([_ended(approval) for approval in found])
    Approval.objects.filter(pk__in=[approval.pk for approval in found]).update(claimed_by=None, claimed_until=None)
    for approval in found:
        signals.approval_claimed.send(Approval, **asking.subject(approval))
    return len(found)


def refusal(by: User, approval: Approval) -> str:
    """Why this person cannot decide it now, in a sentence: somebody else holds it. Empty when nobody else does."""
    other = approval.held_by
    return "" if other is None or other.pk == by.pk else f"{_held(approval)} Take it over with a reason, or wait."


def require_free(by: User, approval: Approval) -> None:
    """Raise what `refusal` says."""
    if sentence := refusal(by, approval):
        raise errors.Conflict(sentence)


def require(by: User, approval: Approval, verb: str) -> None:
    """Whoever may not decide a question cannot keep others from it."""
    try:
        duties.require(by, approval)
    except errors.Forbidden as error:
        audit.denied(verb, about=approval, by=by, because=error.message)
        raise


def _held(approval: Approval) -> str:
    assert approval.claimed_by is not None
    assert approval.claimed_until is not None
    return f"{approval.claimed_by.name} holds this until {timezone.localtime(approval.claimed_until):%H:%M}."


def lock(approval: Approval) -> Approval:
    """As it is now, kept so to the commit; refused where nobody needs to answer any more. Its run first, as whoever
    decides does: a row that is written twice has its run looked up at the commit, and both would wait for each other.
    """
    holds.lock({approval.run_id})
    kept = Approval.objects.select_for_update(of=("self",)).select_related("claimed_by", "team", "agent")
    found: Approval = kept.get(pk=approval.pk)
    if not found.is_open:
        raise errors.Conflict(f"Nobody needs to answer this any more: it is {found.state}.")
    return found


def keep(approval: Approval, by: User | None, until: datetime | None) -> None:
    """Write down who holds it, and until when."""
    approval.claimed_by, approval.claimed_until = by, until
    approval.save(update_fields=["claimed_by", "claimed_until"])


def _ended(approval: Approval) -> AuditEntry:
    reason = f"{approval.claimed_by} did not decide it in time." if approval.claimed_by else ""
    return audit.entry("approval.claim_ended", about=approval, by=None, reason=reason, **asking.links(approval))
