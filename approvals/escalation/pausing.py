"""Clocks that stand still while their run is paused, where the policy says so, and go on when it is resumed.

What was due moves by working time, not by the hands of the clock: whoever has ten minutes left has ten minutes left.
All of it is computed anew from the intervals, so it cannot drift.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.models import Run
from approvals import signals
from approvals.escalation import ladder as ladders
from approvals.escalation.clocks import Clock, Interval
from approvals.escalation.ladder import Ladder, Position
from approvals.models import Approval, ApprovalClock

PAUSED = "run paused"


def follow(run_id: UUID, state: str) -> None:
    """A run moved; called for every one of them, so it asks no more than it must. Let on, a run of ours is queued, and
    a session elsewhere waits again."""
    if state == Run.State.PAUSED:
        stop(run_id)
    elif state in (Run.State.QUEUED, Run.State.WAITING):
        go_on(run_id)


@transaction.atomic(savepoint=False)
def stop(run_id: UUID) -> None:
    """The clocks of its open questions stand still from now on, but for those that run on by their policy."""
    at = timezone.now()
    running = Approval.objects.filter(run_id=run_id, state=Approval.State.OPEN, stopped_at__isnull=True)
    freezing = running.filter(ladder__when_paused="freeze").order_by("pk").select_for_update(of=("self",))
    found = list(freezing.only("pk", "run_id", "agent_id", "team_id", "seq"))
    if keys := [one.pk for one in found]:
        ApprovalClock.objects.filter(approval__in=keys, stopped_at=None).update(stopped_at=at, why=PAUSED)
        Approval.objects.filter(pk__in=keys).update(stopped_at=at)
        ending = Approval.objects.filter(pk__in=keys, ladder__has_key=ladders.LASTS, expires_at__gt=at)
        ending.update(expires_at=None)  # it moves with the clock
    _tell(found)


@transaction.atomic(savepoint=False)
def go_on(run_id: UUID) -> None:
    """The clocks of their open questions run again; everything that was due is due as much later as nothing counted."""
    stopped = Approval.objects.filter(run_id=run_id, state=Approval.State.OPEN, stopped_at__isnull=False)
    if not stopped.exists():  # nearly always, and the whole of it is wide
        return
    found = list(stopped.order_by("pk").select_for_update(of=("self",)))
    at = timezone.now()
    ApprovalClock.objects.bulk_create(ApprovalClock(approval=one, started_at=at) for one in found)
    intervals = intervals_of(found)
    for one in found:
        one.stopped_at = None
        recompute(one, intervals[one.pk])
    Approval.objects.bulk_update(found, ["stopped_at", "due_at", "next_due_at", "expires_at"])
    _tell(found)


def _tell(found: Iterable[Approval]) -> None:
    for one in found:
        about = {"approval_id": one.pk, "run_id": one.run_id, "agent_id": one.agent_id, "team_id": one.team_id}
        signals.approval_turned.send(Approval, **about, seq=one.seq)


def intervals_of(approvals: Iterable[Approval]) -> dict[UUID, list[Interval]]:
    """When the clocks of these ran, in one query."""
    found: dict[UUID, list[Interval]] = defaultdict(list)
    rows = ApprovalClock.objects.filter(approval__in=[one.pk for one in approvals])
    for key, started, stopped in rows.values_list("approval_id", "started_at", "stopped_at"):
        found[key].append((started, stopped))
    return found


def recompute(one: Approval, intervals: Iterable[Interval]) -> None:
    """`due_at`, `next_due_at`, and `expires_at` where that goes by the clock: from the ladder and the intervals alone.
    A deadline that cannot be told yet stays as it is."""
    ladder = Ladder.of(one.ladder)
    clock = Clock.of(intervals, ladder.calendar)
    one.due_at = clock.reaches(ladder.within) or one.due_at
    one.next_due_at = next_due(one, ladder, clock)
    if ladder.lasts:
        one.expires_at = ladders.expires(ladder, clock)


def next_due(one: Approval, ladder: Ladder, clock: Clock) -> datetime | None:
    """When something happens to it unless somebody acts."""
    return ladders.due(ladder, clock, position(one))


def position(one: Approval) -> Position:
    """Where it stands on its ladder."""
    assert one.rung_at is not None
    return Position(one.rung, one.rung_at, one.acknowledged_at)
