"""The end of a question that nobody answered: it expires, the engine is told, and the act is never done."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from agents.audit import log as audit
from agents.contracts import Answer
from agents.models import Run
from agents.runs import holds
from approvals import asking, signals
from approvals.escalation import ladder as ladders
from approvals.escalation import pausing
from approvals.escalation.clocks import Clock
from approvals.escalation.ladder import Ladder, What
from approvals.models import Approval, Escalation
from approvals.outside import silence

MOST = 200
SILENT = "Nobody on the ladder answered in time, and the escalation policy rejects what nobody answers."
TOO_OLD = "Its time was over: what was asked may no longer be done on this question."


def expire_silent(keys: Collection[UUID]) -> int:
    """End those whose ladder is climbed, if it still is so under their locks."""
    return sum(_expire(list(keys)[place : place + MOST], SILENT) for place in range(0, len(keys), MOST))


def expire_overdue(among: Collection[UUID] | None = None) -> int:
    """End those that are past the moment until which they count, at most `MOST` at once: the longest overdue, or some
    of these keys. Nothing ended: none is left, but for what others have locked."""
    past = Q(state=Approval.State.OPEN, expires_at__lte=_now())
    past &= Q() if among is None else Q(pk__in=among)
    keys = Approval.objects.filter(past).exclude(kind=Approval.Kind.IN_DOUBT).values_list("pk", flat=True)
    return _expire(list(keys.order_by("expires_at")[:MOST]), TOO_OLD)


def _now() -> datetime:
    """The database's clock, the same for every process."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at


@transaction.atomic
def _expire(keys: Sequence[UUID], why: str) -> int:
    """Runs first, then questions, as everybody locks them; what somebody else holds is looked at again later."""
    if not keys:
        return 0
    runs = Run.objects.filter(approvals__in=keys).order_by("-pk").select_for_update(of=("self",), skip_locked=True)
    locked = list(runs.values_list("pk", flat=True))
    found = Approval.objects.filter(pk__in=keys, run__in=locked, state=Approval.State.OPEN).select_related("run")
    at = _now()
    rows = list(found.order_by("pk").select_for_update(of=("self",), skip_locked=True))
    over = [one for one in rows if (_is_climbed(one, at) if why == SILENT else _is_past(one, at))]
    places = {(one.run_id, one.seq): one for one in over}
    answers = {place: _answer(one, why, at) for place, one in places.items() if one.is_waited_for}
    taken = (holds.answer_many(answers) if answers else set()) | (places.keys() - answers.keys())
    ended = [one for place, one in places.items() if place in taken]
    _close(ended, why, at)
    return len(ended)


def _is_past(one: Approval, at: datetime) -> bool:
    return one.expires_at is not None and one.expires_at <= at


def _is_climbed(one: Approval, at: datetime) -> bool:
    """Whether nobody has acknowledged it or paused its run meanwhile."""
    ladder = Ladder.of(one.ladder)
    clock = Clock.of(pausing.intervals_of([one])[one.pk], ladder.calendar)
    turn = ladders.pass_time(ladder, clock, pausing.position(one), at=at)
    return one.stopped_at is None and What.EXPIRED in turn.happened


def _answer(one: Approval, why: str, at: datetime) -> Answer:
    """No; but for a call from elsewhere that may go on unanswered, unless the ladder's end rejects it."""
    is_no = why == SILENT or bool(silence.objection(one)) or (one.ladder is not None and _is_climbed(one, at))
    kind = "expired" if is_no else silence.LAPSED
    return Answer(kind=kind, by_id=None, by_name="", reason=why, approval_id=one.pk)


def _close(ended: Sequence[Approval], why: str, at: datetime) -> None:
    if not ended:
        return
    expired = Approval.State.EXPIRED
    Approval.objects.filter(pk__in=[one.pk for one in ended]).update(state=expired, closed_because=why)
    Escalation.objects.bulk_create(
        Escalation(
            approval=one,
            rung=one.rung + 1,
            level=one.ladder["rungs"][-1]["level"] if one.ladder else one.level,
            what=What.EXPIRED,
            due_at=min(one.next_due_at or at, one.expires_at or at),
            at=at,
        )
        for one in ended
    )
    audit.append(audit.entry("approval.expired", about=one, by=None, reason=why, **asking.links(one)) for one in ended)
    for one in ended:
        one.state, one.closed_because = expired, why
    signals.approvals_closed.send(Approval, approvals=ended)
