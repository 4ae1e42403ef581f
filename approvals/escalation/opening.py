"""The beginning of a question's clock: the ladder is frozen on it, and the first interval starts.

`adopt` does the same for open questions that have none: those that were open before there were clocks, and those that
a worker of an earlier version opens.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.models import Run
from approvals.escalation import ladder as ladders
from approvals.escalation import pausing, publishing
from approvals.escalation.clocks import Clock
from approvals.escalation.hours import Calendar
from approvals.escalation.ladder import Json, Ladder, Position
from approvals.models import Approval, ApprovalClock

UNWATCHED = frozenset({Approval.Kind.SAMPLE})
"""Nothing waits for the answer to these, so nobody is called for them."""


def fields(
    team_id: UUID, *, kind: str, level: int, within: timedelta, at: datetime, lasts: timedelta | None = None
) -> dict[str, Any]:
    """What a question that opens at a moment has of ladder and clock: ladder, rung_at, due_at, next_due_at; and
    expires_at where it stays open for so long by its clock, or until somebody decides."""
    if kind in UNWATCHED:
        return {"due_at": at + within}
    found = _fields(_governing(team_id), kind=kind, level=level, within=within, at=at)
    if lasts is None:
        return found
    found["ladder"] |= ladders.lasting(lasts, after_last=found["ladder"]["after_last"])
    ladder = Ladder.of(found["ladder"])
    return found | {"expires_at": ladders.expires(ladder, Clock(((at, None),), ladder.calendar))}


def _governing(team_id: UUID) -> tuple[str, Json, Json | None]:
    name, policy = publishing.policy_of(team_id)
    return name, policy, publishing.calendar_of(team_id) if policy["clock"] == "business" else None


def _fields(
    governing: tuple[str, Json, Json | None], *, kind: str, level: int, within: timedelta, at: datetime
) -> dict[str, Any]:
    name, policy, calendar = governing
    in_doubt = kind == Approval.Kind.IN_DOUBT
    frozen = ladders.freeze(policy, name=name, calendar=calendar, within=within, level=level, holds=in_doubt)
    clock = Clock(((at, None),), Calendar.of(frozen["calendar"]))
    return {
        "ladder": frozen,
        "rung_at": at,
        "due_at": clock.reaches(within),
        "next_due_at": ladders.due(Ladder.of(frozen), clock, Position(0, at)),
    }


def start(approvals: Iterable[Approval]) -> None:
    """Their clocks run from the moment they were asked."""
    ApprovalClock.objects.bulk_create(
        ApprovalClock(approval=one, started_at=one.requested_at) for one in approvals if one.ladder
    )


@transaction.atomic
def adopt(*, limit: int = 500) -> int:
    """Give open questions without a ladder one. Its first rung begins now: nobody is called for time gone by."""
    bare = Approval.objects.filter(state=Approval.State.OPEN, ladder__isnull=True).exclude(kind__in=UNWATCHED)
    found = list(bare.order_by("pk").select_for_update(of=("self",), skip_locked=True)[:limit])
    governing = {team_id: _governing(team_id) for team_id in {one.team_id for one in found}}
    for one in found:
        within = max(one.due_at - one.requested_at, timedelta(minutes=1))
        given = _fields(governing[one.team_id], kind=one.kind, level=one.level, within=within, at=one.requested_at)
        _take(one, given, at=timezone.now())
    Approval.objects.bulk_update(found, ["ladder", "due_at", "rung_at", "next_due_at"])
    start(found)
    paused = Run.objects.filter(pk__in=[one.run_id for one in found], state=Run.State.PAUSED)
    for run_id in paused.values_list("pk", flat=True):
        pausing.stop(run_id)
    return len(found)


def _take(one: Approval, given: dict[str, Any], *, at: datetime) -> None:
    one.ladder, one.due_at, one.rung_at = given["ladder"], given["due_at"], at
    ladder = Ladder.of(given["ladder"])
    one.next_due_at = ladders.due(ladder, Clock(((at, None),), ladder.calendar), Position(0, at))
