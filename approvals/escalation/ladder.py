"""The ladder of one question, frozen when it opened: whom it concerns now, what is due next, and what happens then.

Pure functions; the tick applies them to rows. Whatever happens by itself makes a question louder or ends it without
the act. Nothing here can let an act through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from approvals.escalation.clocks import Clock
from approvals.escalation.hours import Calendar

Json = dict[str, Any]
LASTS = "lasts_s"
"""On ladders of questions whose end follows from their clock, and is not a moment that a gate has named."""


class When(StrEnum):
    """What has to be missing for a level's time to be over."""

    NOT_ACKNOWLEDGED = "not_acknowledged"
    NOT_DECIDED = "not_decided"


class AfterLast(StrEnum):
    """What becomes of a question that nobody answers. There is no approving among it."""

    HOLD = "hold"
    REJECT = "reject"
    EMERGENCY = "emergency"


class What(StrEnum):
    """What has happened because time passed."""

    ESCALATED = "escalated"
    REMINDED = "reminded"
    EMERGENCY = "emergency"
    HELD = "held"
    EXPIRED = "expired"
    REOPENED = "reopened"


@dataclass(frozen=True, slots=True)
class Rung:
    """A stretch of time in which some people are asked. `seconds` is None for one that never ends by itself."""

    level: int
    targets: tuple[str, ...]
    seconds: int | None
    when: When = When.NOT_DECIDED
    channels: tuple[str, ...] = ()
    what: What = What.ESCALATED

    @property
    def length(self) -> timedelta | None:
        """How long, in the time of the clock."""
        return None if self.seconds is None else timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Ladder:
    """What a question carries of the policy that was in force when it opened."""

    policy: str
    within: timedelta
    rungs: tuple[Rung, ...]
    acknowledge: timedelta
    after_last: AfterLast
    is_frozen_by_pause: bool
    calendar: Calendar
    lasts: timedelta | None = None

    @classmethod
    def of(cls, frozen: Mapping[str, Any] | None) -> Self:
        """From the JSON on an approval that has one."""
        assert frozen is not None
        return cls(
            policy=frozen["policy"],
            within=timedelta(seconds=frozen["within_s"]),
            rungs=tuple(_rung(one) for one in frozen["rungs"]),
            acknowledge=timedelta(seconds=frozen["acknowledge_s"]),
            after_last=AfterLast(frozen["after_last"]),
            is_frozen_by_pause=frozen["when_paused"] == "freeze",
            calendar=Calendar.of(frozen["calendar"]),
            lasts=timedelta(seconds=frozen[LASTS]) if frozen.get(LASTS) else None,
        )


@dataclass(frozen=True, slots=True)
class Position:
    """Where a question stands: on which rung and since when, and since when somebody has it in hand."""

    rung: int
    since: datetime
    acknowledged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of the time that has passed: the new position, and what happened; EXPIRED ends the question."""

    position: Position
    happened: tuple[What, ...]


def freeze(policy: Json, *, name: str, calendar: Json | None, within: timedelta, level: int, holds: bool) -> Json:
    """A policy's content as a question keeps it. The ladder begins at the level that the act demands, and its first
    rung is never longer than the time that the act was given. `holds`: nothing can be rejected by silence here."""
    levels = [one for one in policy["levels"] if one["level"] >= level] or policy["levels"][-1:]
    rungs = [rung for one in levels for rung in _repeated(one)]
    rungs[0]["seconds"] = min(rungs[0]["seconds"], int(within.total_seconds()))
    after_last = policy["after_last"]
    if after_last == AfterLast.EMERGENCY:
        last = levels[-1]
        last = {"level": last["level"], "channels": last["channels"], "when": When.NOT_DECIDED, "seconds": None}
        rungs.append({**last, "targets": policy["emergency"], "what": What.EMERGENCY})
    return {
        "policy": name,
        "within_s": int(within.total_seconds()),
        "acknowledge_s": policy["acknowledge_minutes"] * 60,
        "when_paused": policy["when_paused"],
        "after_last": AfterLast.HOLD if holds and after_last == AfterLast.REJECT else after_last,
        "calendar": calendar if policy["clock"] == "business" else None,
        "rungs": rungs,
    }


def lasting(length: timedelta, *, after_last: str) -> Json:
    """What a ladder carries of a question that no gate has given an end: how long it stays open in the time of its
    clock, or None where its policy wants somebody to decide it, however long that takes."""
    return {LASTS: int(length.total_seconds()) if after_last == AfterLast.REJECT else None}


def _repeated(level: Json) -> Sequence[Json]:
    """A level, and as often again as it repeats."""
    kept = {name: level[name] for name in ("level", "targets", "when", "channels")}
    again = range(level["repeat"] + 1)
    kinds = [What.REMINDED if number else What.ESCALATED for number in again]
    return [{**kept, "seconds": level["minutes"] * 60, "what": kind} for kind in kinds]


def _rung(one: Mapping[str, Any]) -> Rung:
    targets, channels = tuple(one["targets"]), tuple(one["channels"])
    return Rung(one["level"], targets, one["seconds"], When(one["when"]), channels, What(one["what"]))


def expires(ladder: Ladder, clock: Clock) -> datetime | None:
    """When a question that ends by its clock does; None while that cannot be told, or where it never does."""
    return clock.reaches(ladder.lasts) if ladder.lasts else None


def due(ladder: Ladder, clock: Clock, position: Position) -> datetime | None:
    """When something happens next unless somebody acts; None when nothing does any more, or the clock stands still."""
    moments = (_lapses(ladder, clock, position), _ends(ladder, clock, position))
    return min((moment for moment in moments if moment), default=None)


def pass_time(ladder: Ladder, clock: Clock, position: Position, *, at: datetime) -> Turn:
    """What has come due by a moment. At most one rung a turn: whoever is asked next has the whole of their time, even
    when nothing looked at the clock for hours."""
    happened: list[What] = []
    lapses = _lapses(ladder, clock, position)
    if lapses and lapses <= at:
        position = replace(position, acknowledged_at=None)
        happened.append(What.REOPENED)
    ends = _ends(ladder, clock, position)
    if ends and ends <= at:
        following = position.rung + 1
        if following < len(ladder.rungs):
            happened.append(ladder.rungs[following].what)
        else:
            happened.append(What.EXPIRED if ladder.after_last == AfterLast.REJECT else What.HELD)
        position = Position(following, at, position.acknowledged_at)
    return Turn(position, tuple(happened))


def _lapses(ladder: Ladder, clock: Clock, position: Position) -> datetime | None:
    """When an acknowledgement counts no longer."""
    if position.acknowledged_at is None:
        return None
    return clock.reaches(ladder.acknowledge, since=position.acknowledged_at)


def _ends(ladder: Ladder, clock: Clock, position: Position) -> datetime | None:
    """When the time of this rung is over; an acknowledgement keeps the question where it is, if the rung says so."""
    rung = ladder.rungs[position.rung] if position.rung < len(ladder.rungs) else None
    if rung is None or rung.length is None:
        return None
    if rung.when == When.NOT_ACKNOWLEDGED and position.acknowledged_at:
        return None
    return clock.reaches(rung.length, since=position.since)
