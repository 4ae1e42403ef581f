"""Business hours: what holds for every calendar, and the days on which clocks, holidays and nights meet."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from approvals.escalation.hours import ALWAYS, DAY, WEEKDAYS, Calendar, read_span

OFFICE = {day: ["08:00-12:00", "13:00-17:00"] for day in WEEKDAYS[:5]}
VIENNA = Calendar.of({"zone": "Europe/Vienna", "hours": OFFICE, "holidays": {"2025-12-25": "Christmas"}})
ROUND = Calendar.of({"zone": "Europe/Vienna"})
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Spring and autumn of 2025 in zones that change by an hour, by half of one, not at all, and on the other half of Earth.
ZONES = ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago", "UTC"]
YEAR = (datetime.fromisoformat("2025-01-01"), datetime.fromisoformat("2026-01-01"))
moments = some.datetimes(*YEAR, timezones=some.just(UTC))
lengths = some.integers(0, 40 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@some.composite
def calendars(draw: Any) -> Calendar:
    """Any hours: none on some days, several, overlapping, over midnight; and holidays on some days of the year."""
    minute = some.integers(0, DAY - 1)
    span = some.tuples(minute, some.integers(45, DAY)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    days = draw(some.lists(some.lists(span, max_size=3).map(tuple), min_size=7, max_size=7).filter(any))
    holidays = draw(some.frozensets(some.dates(date(2025, 1, 1), date(2025, 12, 31)), max_size=8))
    return Calendar(draw(some.sampled_from(ZONES)), tuple(days), holidays)


any_calendar = calendars()


@settings(max_examples=60, deadline=None)
@given(any_calendar, moments, lengths)
def test_after_so_much_working_time_exactly_that_much_has_been_worked(
    calendar: Calendar, moment: datetime, length: timedelta
) -> None:
    end = calendar.after(moment, length)
    assert calendar.worked(moment, end) == length
    if length:
        assert calendar.worked(moment, end - timedelta(microseconds=1)) < length, "and not a moment earlier"


@settings(max_examples=60, deadline=None)
@given(any_calendar, some.lists(moments, min_size=3, max_size=3).map(sorted))
def test_working_time_adds_up_and_is_never_more_than_time(calendar: Calendar, three: list[datetime]) -> None:
    first, second, third = three
    assert calendar.worked(first, third) == calendar.worked(first, second) + calendar.worked(second, third)
    assert timedelta(0) <= calendar.worked(first, third) <= third - first
    assert calendar.worked(third, first) == timedelta(0)


@settings(max_examples=40, deadline=None)
@given(any_calendar, moments)
def test_nothing_is_worked_until_it_opens_and_then_something_is(calendar: Calendar, moment: datetime) -> None:
    opens = calendar.opens(moment)
    assert opens >= moment
    assert calendar.worked(moment, opens) == timedelta(0)
    assert calendar.is_open(opens)
    assert calendar.worked(opens, opens + MINUTE) > timedelta(0)
    assert calendar.is_open(moment) == (opens == moment)


@settings(max_examples=40, deadline=None)
@given(moments, lengths, some.sampled_from(ZONES))
def test_round_the_clock_every_second_counts_whatever_the_clocks_do(
    moment: datetime, length: timedelta, zone: str
) -> None:
    # One that says every hour of every day without saying "always": a year before a holiday it has.
    spelt = Calendar(zone, ALWAYS.hours, frozenset({date(2024, 1, 1)}))
    assert not spelt.is_always
    assert spelt.after(moment, length) == moment + length == ALWAYS.after(moment, length)
    assert spelt.worked(moment, moment + length) == length


@settings(max_examples=25, deadline=None)
@given(any_calendar, some.dates(date(2025, 1, 3), date(2025, 12, 28)))
def test_hours_are_what_the_clock_on_the_wall_shows(calendar: Calendar, day: date) -> None:
    """Minute by minute, by asking the zone what a clock there shows: an oracle that knows nothing of spans."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(calendar.zone)
    start = datetime.combine(day, datetime.min.time(), UTC)
    for minute in range(0, DAY, 17):
        moment = start + minute * MINUTE
        assert calendar.is_open(moment) == _shows(calendar, moment.astimezone(zone)), moment


def _shows(calendar: Calendar, local: datetime) -> bool:
    """Within hours by the hands of the clock; a span's end is shown for the second time where it is shown twice."""
    for back in (0, 1, 2):
        day = local.date() - timedelta(days=back)
        if day not in calendar.holidays:
            minutes = local.hour * 60 + local.minute + back * DAY
            again = local.replace(fold=1).utcoffset() != local.replace(fold=0).utcoffset()
            for since, to in calendar.hours[day.weekday()]:
                if since <= minutes < to:
                    return True
                if again and _within_repeated(local, day, since, to):
                    return True
    return False


def _within_repeated(local: datetime, day: date, since: int, to: int) -> bool:
    """In an hour shown twice a span lasts from the first showing of its start to the second of its end."""
    zone = local.tzinfo
    midnight = datetime.combine(day, datetime.min.time(), zone)
    first = (midnight + timedelta(minutes=since)).replace(fold=0).astimezone(UTC)
    last = (midnight + timedelta(minutes=to)).replace(fold=1).astimezone(UTC)
    return first <= local.astimezone(UTC) < last


def test_lunch_evenings_and_weekends_are_nobodys_time() -> None:
    friday = at("2025-11-21 15:30")  # 16:30 in Vienna
    assert VIENNA.after(friday, 90 * MINUTE) == at("2025-11-24 08:00")  # half an hour on Friday, an hour on Monday
    assert VIENNA.worked(at("2025-11-24 07:00"), at("2025-11-24 16:00")) == 8 * HOUR
    assert VIENNA.opens(friday + 2 * HOUR) == at("2025-11-24 07:00")


def test_what_is_due_at_closing_time_is_due_then_and_not_in_the_morning() -> None:
    assert VIENNA.after(at("2025-11-20 15:00"), HOUR) == at("2025-11-20 16:00")


def test_a_holiday_is_no_working_day() -> None:
    assert VIENNA.after(at("2025-12-24 15:30"), HOUR) == at("2025-12-26 07:30")


@pytest.mark.parametrize(("day", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-06-01", 24)])
def test_a_day_on_which_the_clocks_change_is_longer_or_shorter(day: str, hours: int) -> None:
    whole = Calendar.of({"zone": "Europe/Vienna", "hours": {one: ["00:00-24:00"] for one in WEEKDAYS}, "holidays": {}})
    kept = Calendar(whole.zone, whole.hours, frozenset({date.fromisoformat(day)}))
    start = at(day) - 12 * HOUR
    assert 48 * HOUR - kept.worked(start, start + 48 * HOUR) == hours * HOUR


def test_a_night_shift_is_an_hour_shorter_when_the_clocks_go_forward_and_longer_when_they_go_back() -> None:
    night = Calendar.of({"zone": "Europe/Vienna", "hours": {"saturday": ["22:00-06:00"]}})
    assert night.worked(at("2025-03-29 12:00"), at("2025-03-30 12:00")) == 7 * HOUR
    assert night.worked(at("2025-10-25 12:00"), at("2025-10-26 12:00")) == 9 * HOUR
    assert night.worked(at("2025-11-22 12:00"), at("2025-11-23 12:00")) == 8 * HOUR


def test_hours_that_the_clocks_skip_are_not_worked() -> None:
    gap = Calendar.of({"zone": "Europe/Vienna", "hours": {"sunday": ["02:30-03:10"]}})
    assert gap.worked(at("2025-03-30 00:00"), at("2025-03-30 12:00")) == 10 * MINUTE
    missing = Calendar.of({"zone": "Europe/Vienna", "hours": {"sunday": ["02:10-02:50"]}})
    assert missing.worked(at("2025-03-30 00:00"), at("2025-03-30 12:00")) == timedelta(0)


def test_overlapping_hours_count_once() -> None:
    twice = Calendar.of({"zone": "UTC", "hours": {"monday": ["08:00-12:00", "10:00-14:00", "23:00-02:00"]}})
    assert twice.worked(at("2025-11-24 00:00"), at("2025-11-25 00:00")) == 7 * HOUR
    assert twice.worked(at("2025-11-24 00:00"), at("2025-11-26 00:00")) == 9 * HOUR


def test_without_hours_it_is_always() -> None:
    assert ROUND.is_always
    assert Calendar.of(None) == ALWAYS
    assert Calendar.of({"zone": "UTC", "hours": {"monday": ["09:00-10:00"]}}).hours[1] == ()


@pytest.mark.parametrize("text", ["8-17", "25:00-26:00", "08:00-08:00", "08:60-09:00", "24:00-06:00", "morning"])
def test_hours_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="holds"):
        read_span(text)
