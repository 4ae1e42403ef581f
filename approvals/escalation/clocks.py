"""The clock of one question: the intervals in which it ran, and the hours that count within them. Pure functions.

Everything that is said of a clock (what is spent, what is left, when it is over) follows from these intervals, so it
can be computed again at any time, and by anybody who has them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from approvals.escalation.hours import ALWAYS, NOTHING, Calendar

Interval = tuple[datetime, datetime | None]
"""From when until when it ran; without an end it still does."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Intervals in order, without overlap; only the last may be without an end."""

    intervals: tuple[Interval, ...]
    calendar: Calendar = ALWAYS

    @classmethod
    def of(cls, intervals: Iterable[Interval], calendar: Calendar = ALWAYS) -> Self:
        """From intervals in any order."""
        return cls(tuple(sorted(intervals, key=lambda one: one[0])), calendar)

    def spent(self, until: datetime, *, since: datetime | None = None) -> timedelta:
        """How much of it has run by a moment, from the beginning or since another moment."""
        total = NOTHING
        for started, stopped in self.intervals:
            start = max(started, since) if since else started
            total += self.calendar.worked(start, min(stopped, until) if stopped else until)
        return total

    def reaches(self, length: timedelta, *, since: datetime | None = None) -> datetime | None:
        """The moment at which it has run so long; None where it stopped before that."""
        left = length
        for started, stopped in self.intervals:
            start = max(started, since) if since else started
            if stopped is None:
                return self.calendar.after(start, left)
            ran = self.calendar.worked(start, stopped)
            if ran >= left and stopped > start:
                return self.calendar.after(start, left)
            left -= ran
        return None
