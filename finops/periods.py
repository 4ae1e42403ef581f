"""Stretches of time that reports are about, and the steps they are cut into.

Apart because days begin at midnight where the person is, which no query should work out for itself: every report and
chart takes its borders from here. Ends are excluded. `last hour` and `last 24 hours` roll; days, weeks and months are
whole days, so that a bar is a day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from django.db.models import DateTimeField, F, Func, Value

from agents import errors

FIVE_MINUTES, HOUR, DAY, MONTH = "5 minutes", "hour", "day", "month"
NAMED: Final = {"1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
USUAL = "7d"
FIRST, LAST = date(2000, 1, 1), date(2099, 12, 31)


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to `until`, in `step`s, in a person's zone. `name` is its word in an address."""

    name: str
    words: str
    since: datetime
    until: datetime
    step: str
    zone: tzinfo

    def starts(self) -> list[datetime]:
        """The moment each step begins, the first one at or before `since`."""
        moment, found = floor(self.since, self.step, self.zone), []
        while moment < self.until:
            found.append(moment)
            moment = _following(moment, self.step, self.zone)
        return found

    @property
    def phrase(self) -> str:
        """Its words inside a sentence: spent "in the last 7 days", "on 3 Nov 2026", "from 1 Nov 2026 to 3 Nov 2026"."""
        if self.name:
            return f"in the {self.words}"
        return f"on {self.words}" if " to " not in self.words else f"from {self.words}"

    @property
    def days(self) -> dict[str, str]:
        """The first and the last day, as an address names them."""
        last = (self.until - timedelta(microseconds=1)).astimezone(self.zone)
        return {"from": f"{self.since.astimezone(self.zone):%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}


def midnight(day: date, zone: tzinfo) -> datetime:
    """The moment a day begins in a zone."""
    return datetime.combine(day, time(), tzinfo=zone)


def named(name: str, *, now: datetime, zone: tzinfo) -> Period:
    """One of the named periods, ending now."""
    today = now.astimezone(zone).date()
    begins = {
        "1h": (now - timedelta(hours=1), FIVE_MINUTES),
        "24h": (now - timedelta(hours=24), HOUR),
        "7d": (midnight(today - timedelta(days=6), zone), DAY),
        "30d": (midnight(today - timedelta(days=29), zone), DAY),
    }
    if name not in begins:
        raise errors.Invalid(f"`range` cannot be {name!r}; it can be {', '.join(NAMED)}.", field="range")
    since, step = begins[name]
    return Period(name, NAMED[name], since, now, step, zone)


def between(first: str, last: str, *, now: datetime, zone: tzinfo) -> Period:
    """Whole days from a first to a last one, both included; the last one is today when left out."""
    since = _day(first, "from")
    until = _day(last, "to") if last else max(since, now.astimezone(zone).date())
    if until < since:
        raise errors.Invalid(f"`to` ({until}) lies before `from` ({since}).", field="to")
    days = (until - since).days + 1
    step = HOUR if days <= 2 else DAY if days <= 62 else MONTH
    words = _word(since) if days == 1 else f"{_word(since)} to {_word(until)}"
    return Period("", words, midnight(since, zone), midnight(until + timedelta(days=1), zone), step, zone)


def _day(text: str, field: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise errors.Invalid(f"`{field}` is a day such as 2026-11-01, not {text!r}.", field=field) from None
    if not FIRST <= day <= LAST:
        raise errors.Invalid(f"`{field}` lies between {FIRST} and {LAST}, not on {text}.", field=field)
    return day


def _word(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def floor(moment: datetime, step: str, zone: tzinfo) -> datetime:
    """The beginning of the step that a moment lies in, as `started` says it to the database."""
    if step == FIVE_MINUTES:
        return moment - timedelta(seconds=moment.timestamp() % 300)
    here = moment.astimezone(zone)
    if step == HOUR:  # taken from the moment, not from the clock: when clocks go back an hour comes twice
        return moment - timedelta(minutes=here.minute, seconds=here.second, microseconds=here.microsecond)
    return midnight(here.date().replace(day=1) if step == MONTH else here.date(), zone)


def _following(moment: datetime, step: str, zone: tzinfo) -> datetime:
    """The beginning of the next step."""
    if step in (FIVE_MINUTES, HOUR):
        return moment.astimezone(UTC) + (timedelta(minutes=5) if step == FIVE_MINUTES else timedelta(hours=1))
    day = moment.astimezone(zone).date()
    return midnight(
        (day.replace(day=1) + timedelta(days=32)).replace(day=1) if step == MONTH else day + timedelta(1), zone
    )


def started(step: str, zone: tzinfo) -> Func:
    """The SQL for `floor(at, step, zone)`."""
    moment = DateTimeField()
    if step == FIVE_MINUTES:
        origin = Value(datetime(2000, 1, 1, tzinfo=UTC), output_field=moment)
        return Func(Value(step), F("at"), origin, template="date_bin(%(expressions)s)", output_field=moment)
    return Func(Value(step), F("at"), Value(str(zone)), function="date_trunc", output_field=moment)
