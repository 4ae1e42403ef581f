"""Business hours: working time between two moments, and the moment at which so much of it has passed. Pure functions.

Hours are written as the clock on the wall shows them, in an IANA zone, and counted in time that really passes: the
night in which the clocks go forward is an hour shorter. A span belongs to the day on which it begins, so a shift over
midnight goes on into a holiday, and a holiday has no shift that begins on it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Self
from zoneinfo import ZoneInfo, available_timezones

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY = 24 * 60
WHOLE_DAY = ((0, DAY),)
NOTHING = timedelta(0)
_SPAN = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)\s*(?:-|–|to)\s*([01]?\d|2[0-4]):([0-5]\d)")

Minutes = tuple[int, int]
"""From and to in minutes after midnight; what ends on the next day ends behind 1440."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The hours of each weekday from Monday on, without those that begin on a holiday. By default always."""

    zone: str = "UTC"
    hours: tuple[tuple[Minutes, ...], ...] = (WHOLE_DAY,) * 7
    holidays: frozenset[date] = field(default_factory=frozenset)

    @classmethod
    def of(cls, content: Mapping[str, Any] | None) -> Self:
        """From the JSON that is published and frozen: {zone, hours?: {monday: ["08:00-17:00"]}, holidays?}."""
        if not content:
            return cls()
        hours = content.get("hours")
        spans = WHOLE_DAY if hours is None else ()
        written: Mapping[str, Sequence[str]] = hours or {}
        return cls(
            content.get("zone", "UTC"),
            tuple(tuple(map(read_span, written[day])) if day in written else spans for day in WEEKDAYS),
            frozenset(date.fromisoformat(day) for day in content.get("holidays", ())),
        )

    @property
    def is_always(self) -> bool:
        """Whether every moment counts."""
        return not self.holidays and self.hours == (WHOLE_DAY,) * 7

    def worked(self, start: datetime, end: datetime) -> timedelta:
        """Working time from one moment to another; none when the second is not later."""
        if self.is_always or end <= start:
            return max(end - start, NOTHING)
        return sum((to - since for since, to in self._spans(start, end)), NOTHING)

    def after(self, moment: datetime, length: timedelta) -> datetime:
        """The first moment at which so much working time has passed."""
        if self.is_always or length <= NOTHING:
            return moment + max(length, NOTHING)
        left = length
        for since, to in self._spans(moment):
            if to - since >= left:
                return since + left
            left -= to - since
        raise AssertionError("a calendar has hours in every week")

    def is_open(self, moment: datetime) -> bool:
        """Whether it is working time."""
        return self.opens(moment) == moment

    def opens(self, moment: datetime) -> datetime:
        """The first working moment from this one on: itself within hours."""
        if self.is_always:
            return moment
        return next(since for since, _ in self._spans(moment))

    def _spans(self, start: datetime, end: datetime | None = None) -> Iterator[tuple[datetime, datetime]]:
        """Working spans behind `start`, in order and without overlap, up to `end` or for ever."""
        zone, done = ZoneInfo(self.zone), start
        day = start.astimezone(zone).date() - timedelta(days=2)
        last = end.astimezone(zone).date() if end else date.max
        while day <= last:
            for since, to in _of_day(self, day):
                since, to = max(since, done), min(to, end) if end else to
                if to > since:
                    yield since, to
                    done = to
            day += timedelta(days=1)


ALWAYS = Calendar()


@lru_cache(maxsize=4096)
def _of_day(calendar: Calendar, day: date) -> tuple[tuple[datetime, datetime], ...]:
    """The spans that begin on a day, as moments in UTC; one that falls into a missing hour is empty and left out."""
    if day in calendar.holidays:
        return ()
    zone = ZoneInfo(calendar.zone)
    spans = [
        (_moment(day, since, zone, fold=0), _moment(day, to, zone, fold=1))
        for since, to in calendar.hours[day.weekday()]
    ]
    return tuple(sorted((since, to) for since, to in spans if to > since))


def _moment(day: date, minutes: int, zone: ZoneInfo, *, fold: int) -> datetime:
    """What the clock on the wall means. An hour shown twice begins with its first showing and ends with its second; a
    time that is skipped is the moment at which the clocks go forward."""
    local = datetime.combine(day, time(), zone) + timedelta(minutes=minutes)
    early, late = (local.replace(fold=one).astimezone(UTC) for one in (1, 0))
    if early >= late:  # shown once, or twice
        return (late, early)[fold]
    before, offset = early, early.astimezone(zone).utcoffset()
    while late - before > timedelta(seconds=1):
        middle = before + (late - before) // 2
        before, late = (middle, late) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return late.replace(microsecond=0)


def read_span(text: str) -> Minutes:
    """`08:00-17:00`, or `22:00-06:00` over midnight. Raises ValueError with what would be right."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"holds {text!r}; hours are written 08:00-17:00, or 22:00-06:00 over midnight")
    since, to = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if since >= DAY or to > DAY or since == to:
        raise ValueError(f"holds {text!r}, which is no span of a day; the whole day is 00:00-24:00")
    return (since, to) if to > since else (since, to + DAY)


def known_zone(name: str) -> str:
    """A zone of the IANA database. Raises ValueError with what would be right."""
    if name not in available_timezones():
        raise ValueError(f"is {name!r}, which is no time zone; write one such as Europe/Vienna or UTC")
    return name
