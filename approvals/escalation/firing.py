"""What happens to open questions because time has passed. Called by the tick, in any number of processes at once.

Rows are claimed by locks that skip what another holds, and moved by compare-and-set on their rung, so that each rung is
reached exactly once; a unique constraint on what is kept of it says so too. Many move in a handful of statements.
Nothing here decides: a question gets louder, or expires, and what expires is never done.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from agents.audit import log as audit
from agents.models import AuditEntry, User
from approvals import asking, signals
from approvals.escalation import expiring, pausing, targets
from approvals.escalation import ladder as ladders
from approvals.escalation.clocks import Clock
from approvals.escalation.ladder import Ladder, Turn, What
from approvals.models import Approval, Escalation

BATCH, MOST_SECONDS = 500, 5.0

DUE = """
-- Open questions whose time has come, the longest overdue first. The clock is the database's, the same for every tick.
SELECT id, clock_timestamp() FROM approvals_approval
WHERE state = 'open' AND stopped_at IS NULL AND next_due_at <= clock_timestamp() AND id <> ALL(%(but)s::uuid[])
ORDER BY next_due_at LIMIT %(most)s
FOR UPDATE SKIP LOCKED
"""

MOVE = """
-- From the rung where each was found, and from nowhere else.
UPDATE approvals_approval a SET rung = moved.rung, rung_at = moved.rung_at, next_due_at = moved.due,
    acknowledged_at = CASE WHEN moved.reopens THEN NULL ELSE a.acknowledged_at END,
    acknowledged_by_id = CASE WHEN moved.reopens THEN NULL ELSE a.acknowledged_by_id END
FROM unnest(%(ids)s::uuid[], %(before)s::int[], %(rungs)s::int[], %(ats)s::timestamptz[], %(dues)s::timestamptz[],
    %(reopens)s::bool[]) AS moved(id, before, rung, rung_at, due, reopens)
WHERE a.id = moved.id AND a.rung = moved.before AND a.state = 'open'
RETURNING a.id
"""


@dataclass(frozen=True, slots=True)
class Move:
    """What is to become of one question."""

    approval: Approval
    ladder: Ladder
    turn: Turn
    was_due: datetime
    following: datetime | None

    @property
    def level(self) -> int:
        """Whom it has come to."""
        return level_of(self.ladder, self.turn.position.rung)


def level_of(ladder: Ladder, rung: int) -> int:
    """The level of a rung; behind the last one it stays what it was."""
    return ladder.rungs[min(rung, len(ladder.rungs) - 1)].level


def fire() -> int:
    """Everything that is due now, however much it is. What ends waits for what is to be told: before each batch of it
    the ladders are looked at again."""
    ending: list[UUID] = []
    moved, tried, until = 0, 0, time.monotonic() + MOST_SECONDS
    while time.monotonic() < until:
        seen, batch = _fire_batch(ending)
        moved += batch
        if seen == BATCH:
            continue
        silent = ending[tried : tried + expiring.MOST]
        ended = expiring.expire_silent(silent) + expiring.expire_overdue()
        if not silent and not ended:
            break
        tried, moved = tried + len(silent), moved + ended
    return moved


@transaction.atomic
def _fire_batch(ending: list[UUID]) -> tuple[int, int]:
    """Claim some and move them; those to be ended are added to `ending` and left as they are."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, {"but": ending, "most": BATCH})
        claimed = cursor.fetchall()
    if not claimed:
        return 0, 0
    at = claimed[-1][1]
    moves = _turns([pk for pk, _ in claimed], at)
    ending += [one.approval.pk for one in moves if What.EXPIRED in one.turn.happened]
    going = [one for one in moves if What.EXPIRED not in one.turn.happened]
    taken = _move(going)
    _tell([one for one in going if one.approval.pk in taken], at)
    return len(claimed), len(taken)


def _turns(keys: Sequence[UUID], at: datetime) -> list[Move]:
    heavy = ("arguments", "preview", "bound")
    found = list(Approval.objects.filter(pk__in=keys).select_related("agent").defer(*heavy).order_by("next_due_at"))
    intervals = pausing.intervals_of(found)
    moves = []
    for one in found:
        ladder = Ladder.of(one.ladder)
        clock = Clock.of(intervals[one.pk], ladder.calendar)
        turn = ladders.pass_time(ladder, clock, pausing.position(one), at=at)
        assert one.next_due_at is not None
        moves.append(Move(one, ladder, turn, one.next_due_at, ladders.due(ladder, clock, turn.position)))
    return moves


def _move(moves: Sequence[Move]) -> set[UUID]:
    if not moves:
        return set()
    given: dict[str, Any] = {
        "ids": [one.approval.pk for one in moves],
        "before": [one.approval.rung for one in moves],
        "rungs": [one.turn.position.rung for one in moves],
        "ats": [one.turn.position.since for one in moves],
        "dues": [one.following for one in moves],
        "reopens": [What.REOPENED in one.turn.happened for one in moves],
    }
    with connection.cursor() as cursor:
        cursor.execute(MOVE, given)
        return {pk for (pk,) in cursor.fetchall()}


def _tell(moves: Sequence[Move], at: datetime) -> None:
    """Keep what happened, and announce whom it concerns now."""
    wanted = [(one.approval.team_id, _rung_targets(one)) for one in moves]
    found = targets.resolve(wanted)
    kept, entries, told = [], [], []
    for one in moves:
        concerned = targets.of(found, one.approval.team_id, _rung_targets(one))
        for what in one.turn.happened:
            kept.append(_kept(one, what, concerned, at))
            entries.append(_entry(one, what, concerned))
        told.append((one, concerned))
    Escalation.objects.bulk_create(kept)
    audit.append(entries)
    for one, concerned in told:
        _announce(one, concerned)


def _rung_targets(one: Move) -> tuple[str, ...]:
    """Whom the rung concerns that was reached; nobody new where there is none."""
    rung = one.turn.position.rung
    return one.ladder.rungs[rung].targets if rung < len(one.ladder.rungs) else ()


def _kept(one: Move, what: What, concerned: Sequence[User], at: datetime) -> Escalation:
    names = [] if what == What.REOPENED else [user.username for user in concerned]
    rung = one.approval.rung if what == What.REOPENED else one.turn.position.rung
    return Escalation(
        approval=one.approval, rung=rung, level=one.level, what=what, due_at=one.was_due, at=at, told=names
    )


def _entry(one: Move, what: What, concerned: Sequence[User]) -> AuditEntry:
    return audit.entry(
        "approval.reopened" if what == What.REOPENED else "approval.escalated",
        about=one.approval,
        by=None,
        reason=REASONS[what],
        level=one.level,
        rung=one.turn.position.rung,
        told=[user.username for user in concerned],
        **asking.links(one.approval),
    )


REASONS = {
    What.ESCALATED: "Nobody reacted in time; the next level is asked.",
    What.REMINDED: "Nobody reacted in time; the same people are asked again.",
    What.EMERGENCY: "Nobody on the ladder reacted; the emergency contact is asked.",
    What.HELD: "Nobody on the ladder reacted; it waits until somebody does.",
    What.REOPENED: "Whoever acknowledged it has not decided it in time.",
}


def _announce(one: Move, concerned: Sequence[User]) -> None:
    approval, position = one.approval, one.turn.position
    approval.rung, approval.rung_at, approval.next_due_at = position.rung, position.since, one.following
    if What.REOPENED in one.turn.happened:
        approval.acknowledged_at = approval.acknowledged_by_id = None
    if position.rung < len(one.ladder.rungs) and set(one.turn.happened) - {What.REOPENED}:
        channels = one.ladder.rungs[position.rung].channels
        signals.approval_escalated.send(
            Approval, approval=approval, level=one.level, targets=concerned, channels=channels
        )
    signals.approval_turned.send(Approval, **asking.subject(approval))
