"""What pages and the API say of a question's clock and ladder: computed from what is stored, at one moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from approvals.escalation import ladder as ladders
from approvals.escalation import pausing
from approvals.escalation.clocks import Clock
from approvals.escalation.hours import NOTHING, Calendar
from approvals.escalation.ladder import AfterLast, Ladder, Position, What
from approvals.escalation.written import ROLE
from approvals.models import Approval, ApprovalClock, Escalation

PAST, HERE, COMING = "past", "here", "coming"
MOST_SHOWN = 90
NOBODY = (What.HELD, What.EXPIRED, What.REOPENED)
DID = {
    What.ESCALATED: "asked",
    What.REMINDED: "asked again",
    What.EMERGENCY: "emergency contact asked",
    What.HELD: "nobody answered: nobody else is asked, it waits",
    What.EXPIRED: "nobody answered: rejected, never done",
    What.REOPENED: "acknowledged, not decided in time: open to all again",
}
DOES = DID | {
    What.HELD: "then nobody else is asked, and it waits",
    What.EXPIRED: "then rejected; it is not done",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """How a clock stands. `due_at` is when the time is over, or was; None while the clock stands still before that.
    `opens_at` is set outside hours."""

    elapsed: timedelta
    allowed: timedelta
    due_at: datetime | None
    is_breached: bool
    paused_since: datetime | None
    paused_because: str
    opens_at: datetime | None
    at: datetime
    keeps_hours: bool

    @property
    def remaining(self) -> timedelta:
        """What is left, in time that counts; nothing once it is over."""
        return max(self.allowed - self.elapsed, NOTHING)

    @property
    def within_hours(self) -> bool:
        """Whether this moment counts by the calendar."""
        return self.opens_at is None

    @property
    def counts_down(self) -> bool:
        """Whether what is left runs off without a break until it is over, so that a countdown tells the truth."""
        is_running = self.paused_since is None and self.opens_at is None and self.due_at is not None
        return is_running and self.due_at is not None and self.due_at - self.at <= self.remaining


@dataclass(frozen=True, slots=True)
class Standstill:
    """A clock that does not run: its run is paused, or it is outside hours until it opens."""

    paused_since: datetime | None = None
    opens_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A rung as people read it: `past`, `here` or `coming`; when it was or would be reached, and who is asked."""

    place: str
    level: int
    what: What
    at: datetime | None
    people: Sequence[str]
    channels: Sequence[str] = ()

    @property
    def who(self) -> str:
        """Everybody who is asked, in words."""
        if self.what in NOBODY:
            return ""
        words = [f"every {one.removeprefix(ROLE)}" if one.startswith(ROLE) else one for one in self.people]
        return ", ".join(words) or "nobody: no account has that role"

    @property
    def does(self) -> str:
        """What happens there, in words."""
        return DOES[self.what] if self.place == COMING else DID[self.what]


@dataclass(frozen=True, slots=True)
class Course:
    """The clock and the ladder of one question."""

    timing: Timing
    steps: Sequence[Step]
    policy: str = ""
    rung: int = 0
    end: str = ""

    @property
    def here(self) -> Step | None:
        """Who is asked now."""
        return next((step for step in self.steps if step.place == HERE), None)

    @property
    def next(self) -> Step | None:
        """What happens next unless somebody acts."""
        return next((step for step in self.steps if step.place == COMING), None)


def courses(approvals: Sequence[Approval], *, at: datetime) -> dict[UUID, Course]:
    """Of many, in two queries however many there are."""
    clocks: dict[UUID, list[ApprovalClock]] = defaultdict(list)
    for row in ApprovalClock.objects.filter(approval__in=approvals).order_by("started_at"):
        clocks[row.approval_id].append(row)
    happened: dict[UUID, list[Escalation]] = defaultdict(list)
    for one in Escalation.objects.filter(approval__in=approvals).order_by("rung", "at"):
        happened[one.approval_id].append(one)
    return {one.pk: _course(one, clocks[one.pk], happened[one.pk], at) for one in approvals}


def course(approval: Approval, *, at: datetime) -> Course:
    """Of one."""
    return courses([approval], at=at)[approval.pk]


def standstill(approval: Approval, *, at: datetime) -> Standstill | None:
    """Why the clock of a row in a list does not run now, without a query; None where it does."""
    if not approval.is_open:
        return None
    if approval.stopped_at:
        return Standstill(paused_since=approval.stopped_at)
    calendar = Calendar.of((approval.ladder or {}).get("calendar"))
    return None if calendar.is_open(at) else Standstill(opens_at=calendar.opens(at))


def _course(one: Approval, clocks: Sequence[ApprovalClock], happened: Sequence[Escalation], at: datetime) -> Course:
    if one.ladder is None:
        return Course(_plain(one, at), ())
    ladder = Ladder.of(one.ladder)
    clock = Clock.of(((row.started_at, row.stopped_at) for row in clocks), ladder.calendar)
    timing = _timing(one, ladder, clock, clocks[-1].why if clocks else "", at)
    return Course(timing, _steps(one, ladder, clock, happened), ladder.policy, one.rung, _ends(one, ladder))


def _ends(one: Approval, ladder: Ladder) -> str:
    """What becomes of an open question that nobody answers, in words; when, says `expires_at`."""
    if not one.is_open or one.expires_at:
        return ""
    if ladder.lasts:
        return "its end stands still with its clock"
    return "it stays open until somebody decides"


def _timing(one: Approval, ladder: Ladder, clock: Clock, why: str, at: datetime) -> Timing:
    elapsed, due = clock.spent(at), clock.reaches(ladder.within)
    is_open = one.is_open and ladder.calendar.is_open(at)
    return Timing(
        elapsed=elapsed,
        allowed=ladder.within,
        due_at=due,
        is_breached=elapsed > ladder.within,
        paused_since=one.stopped_at if one.is_open else None,
        paused_because=why if one.is_open and one.stopped_at else "",
        opens_at=None if is_open or not one.is_open else ladder.calendar.opens(at),
        at=at,
        keeps_hours=not ladder.calendar.is_always,
    )


def _plain(one: Approval, at: datetime) -> Timing:
    """Of a question without a ladder: a sample, or one that is older than clocks are."""
    end = at if one.is_open else one.decided_at or at
    elapsed = max(end - one.requested_at, NOTHING)
    return Timing(
        elapsed=elapsed,
        allowed=one.due_at - one.requested_at,
        due_at=one.due_at,
        is_breached=one.due_at < end,
        paused_since=None,
        paused_because="",
        opens_at=None,
        at=at,
        keeps_hours=False,
    )


def _steps(one: Approval, ladder: Ladder, clock: Clock, happened: Sequence[Escalation]) -> list[Step]:
    """What was, where it stands, and what comes unless somebody acts."""
    first = ladder.rungs[0]
    found = [Step(PAST, first.level, What.ESCALATED, one.requested_at, first.targets, first.channels)]
    found += [Step(PAST, kept.level, What(kept.what), kept.at, kept.told) for kept in happened]
    if not one.is_open:
        return found
    reached = max(place for place, step in enumerate(found) if step.what != What.REOPENED)
    found[reached] = replace(found[reached], place=HERE)
    return found + _up_to(one, coming(ladder, clock, pausing.position(one)))


def _up_to(one: Approval, ahead: list[Step]) -> list[Step]:
    """What comes before the question expires, and that it does; one without such a moment goes up all of its ladder."""
    until = one.expires_at
    if until is None:
        return ahead
    found = [step for step in ahead if step.at is None or step.at < until]
    if any(step.what == What.EXPIRED and step.at for step in found):
        return found
    level = found[-1].level if found else one.level
    return [*(step for step in found if step.what != What.EXPIRED), Step(COMING, level, What.EXPIRED, until, ())]


def coming(ladder: Ladder, clock: Clock, position: Position) -> list[Step]:
    """The rungs ahead. Their times are unknown while the clock stands still."""
    found: list[Step] = []
    while len(found) < MOST_SHOWN:
        at = ladders.due(ladder, clock, position)
        turn = ladders.pass_time(ladder, clock, position, at=at) if at else None
        if turn and not set(turn.happened) - {What.REOPENED}:
            position = turn.position
            continue
        following = position.rung + 1
        if following < len(ladder.rungs):
            rung = ladder.rungs[following]
            found.append(Step(COMING, rung.level, rung.what, at, rung.targets, rung.channels))
        else:
            return found + _end(ladder, position, at)
        position = turn.position if turn else Position(following, position.since)
    return found


def _end(ladder: Ladder, position: Position, at: datetime | None) -> list[Step]:
    """What happens behind the last rung; nothing behind one without an end, or once it was reached."""
    if position.rung >= len(ladder.rungs) or ladder.rungs[position.rung].seconds is None:
        return []
    what = What.EXPIRED if ladder.after_last == AfterLast.REJECT else What.HELD
    return [Step(COMING, ladder.rungs[-1].level, what, at, ())]


def preview(frozen: Mapping[str, Any], *, at: datetime) -> list[Step]:
    """If it were asked now."""
    ladder = Ladder.of(frozen)
    first = ladder.rungs[0]
    ahead = coming(ladder, Clock(((at, None),), ladder.calendar), Position(0, at))
    return [Step(HERE, first.level, What.ESCALATED, at, first.targets, first.channels), *ahead]
