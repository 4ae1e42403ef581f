"""Figures and times read the same everywhere, and what is unknown never reads as a number."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from cockpit.templatetags import formatting

HERE = datetime(2026, 11, 21, 13, 2, 12, tzinfo=UTC)


def plain(text: str) -> str:
    """Without no-break spaces, for reading."""
    return str(text).replace(formatting.NBSP, " ")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "unpriced"),
        (0, "$0.00"),
        (Decimal("31.2"), "$31.20"),
        (Decimal("1234567.891"), "$1,234,567.89"),
        (0.61, "$0.61"),
        (0.5, "$0.50"),
        (Decimal("0.0310"), "$0.031"),
        (Decimal("0.00124"), "$0.0012"),
        (Decimal("0.0000004"), "<$0.000001"),
        (Decimal("-0.02"), "−$0.02"),
    ],
)
def test_money_shows_two_places_and_more_only_where_they_matter(amount, text):
    assert formatting.money(amount) == text


def test_money_names_its_currency():
    assert (formatting.money(2, "EUR"), plain(formatting.money(2, "CHF"))) == ("€2.00", "CHF 2.00")


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "unknown"),
        (0, "0 s"),
        (0.0002, "1 ms"),
        (0.045, "45 ms"),
        (0.9996, "1.0 s"),
        (8.24, "8.2 s"),
        (59.96, "1 min"),
        (timedelta(minutes=4, seconds=12), "4 min 12 s"),
        (timedelta(minutes=4, seconds=2), "4 min 02 s"),
        (3599.7, "1 h 00 min"),
        (timedelta(hours=1, minutes=3), "1 h 03 min"),
        (timedelta(days=2, hours=4, minutes=59), "2 d 4 h"),
        (timedelta(days=1, minutes=59), "1 d"),
        (-3, "−3.0 s"),
    ],
)
def test_durations_never_round_into_a_unit_they_do_not_show(length, text):
    assert plain(formatting.duration(length)) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "unknown"),
        (0.961, "96.1 %"),
        (1, "100 %"),
        (0.99996, "99.9 %"),
        (0, "0 %"),
        (0.0002, "<0.1 %"),
        (0.5, "50.0 %"),
    ],
)
def test_a_share_is_only_all_or_nothing_when_it_is(share, text):
    assert plain(formatting.percent(share)) == text


def test_counts_have_thousands_and_unknown_is_not_zero():
    assert (formatting.count(1240), formatting.count(0), formatting.count(None)) == ("1,240", "0", "unknown")


def test_an_id_keeps_both_ends():
    assert formatting.short_id("0193a7c2-1111-7222-8333-44445555e4d1") == "0193a7c2…e4d1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (47 * 3600, "47 h"), (172800, "2 d")],
)
def test_an_age_has_one_unit(seconds, text):
    assert plain(formatting.coarse(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "0:40"), (715, "11:55"), (3600, "1 h"), (0, "overdue"), (-5, "overdue")]
)
def test_a_countdown_ends_in_overdue(seconds, text):
    assert plain(formatting.countdown(seconds)) == text


@pytest.mark.parametrize(("seconds", "text"), [(40, "0:40"), (0, "now"), (-5, "now")])
def test_what_happens_by_itself_is_never_overdue(seconds, text, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: HERE - timedelta(seconds=seconds))
    assert formatting.left(HERE, "happens").endswith(f' data-time="left-happens">{text}</time>')


def test_a_time_is_shown_in_the_zone_in_force_and_says_so_on_hover(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: HERE + timedelta(seconds=3))
    with timezone.override("Europe/Berlin"):
        assert formatting.moment(HERE) == (
            '<time datetime="2026-11-21T13:02:12.000Z" title="Sat 21 Nov 2026, 14:02:12 CET">14:02:12</time>'
        )
        assert plain(formatting.moment(HERE - timedelta(days=1))).endswith(">20 Nov 14:02</time>")
        assert plain(formatting.moment(HERE - timedelta(days=400))).endswith(">17 Oct 2025 15:02</time>")
        assert plain(formatting.age(HERE)).endswith('data-time="age">3 s ago</time>')


def test_the_last_minute_of_a_deadline_is_marked_late(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: HERE)
    assert 'class="left late"' in formatting.left(HERE + timedelta(seconds=40))
    assert 'class="left"' in formatting.left(HERE + timedelta(seconds=90))
    assert (formatting.left(None), formatting.age(None)) == ("—", "never")
