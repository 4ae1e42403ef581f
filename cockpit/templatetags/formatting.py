"""How figures and times are written, once for the whole product: money, durations, counts, shares, ages, times.

Apart from `drawing` and `parts` because pages, exports and messages format alike. What is unknown reads "unknown"
(money: "unpriced"), never 0. Times come in aware and leave in the zone of the person, as `<time>` elements that the
page's script keeps fresh. A space inside a figure is a no-break space, so that a unit never stands alone.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

UNKNOWN = "unknown"
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
SMALLEST_SHOWN = Decimal("0.000001")
MINUTE, HOUR, DAY = 60, 3600, 86400

Number: TypeAlias = int | float | Decimal


@register.filter
def money(amount: Number | None, currency: str = "USD") -> str:
    """`$31.20`, `$0.031`, `$0.0012`: two places, more only where two significant digits need them; None is unpriced."""
    if amount is None:
        return "unpriced"
    exact = Decimal(str(amount))
    sign, size = (MINUS if exact < 0 else ""), abs(exact)
    symbol = SYMBOLS.get(currency, f"{currency}{NBSP}")
    if 0 < size < SMALLEST_SHOWN:
        return f"{sign}<{symbol}{SMALLEST_SHOWN}"
    places = 2 if size == 0 or size >= 1 else max(2, 1 - size.adjusted())
    figure = f"{size:,.{places}f}"
    if places > 2:  # 0.500 is 0.50, yet 0.031 keeps its third place
        whole, fraction = figure.split(".")
        figure = f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
    return f"{sign}{symbol}{figure}"


@register.filter
def spent(work: Any) -> str:
    """What a run, or an agent lately, has cost; unknown where it was spent elsewhere and nobody told."""
    known: Decimal | None = work.known_cost
    return UNKNOWN if known is None and work.is_elsewhere else money(known)


@register.filter
def duration(length: timedelta | Number | None) -> str:
    """`45 ms`, `8.2 s`, `4 min 12 s`, `1 h 03 min`, `2 d 4 h`; takes a timedelta or seconds."""
    if length is None:
        return UNKNOWN
    seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    sign, seconds = (MINUS if seconds < 0 else ""), abs(seconds)
    return sign + _length(seconds).replace(" ", NBSP)


def _length(seconds: float) -> str:
    """A length of time, in ordinary spaces; the borders are where rounding would show the next unit."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{max(round(seconds * 1000), 1)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s" if whole % MINUTE else f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h" if whole % DAY >= HOUR else f"{whole // DAY} d"


@register.filter
def count(number: Number | None) -> str:
    """`1,240`; tokens, runs, anything counted."""
    return UNKNOWN if number is None else f"{number:,.0f}".replace("-", MINUS)


@register.filter
def percent(share: Number | None, places: int = 1) -> str:
    """`96.1 %` from 0.961; whole hundreds lose the needless place; 99.96 % never reads as 100 %, nor 0.04 % as 0."""
    if share is None:
        return UNKNOWN
    figure = float(share) * 100
    text = f"{figure:.{places}f}"
    smallest = 10**-places
    if float(text) == 100 and figure < 100:
        text = f"{100 - smallest:.{places}f}"
    elif float(text) == 0 and figure > 0:
        text = f"<{smallest:.{places}f}"
    if not text.startswith("<") and float(text) in {0.0, 100.0}:
        text = f"{float(text):.0f}"
    return f"{text}{NBSP}%".replace("-", MINUS)


@register.filter
def short_id(identifier: UUID | str | None) -> str:
    """`0193a7c2…e4d1`: the time part tells neighbours apart for people, the end tells runs of one moment apart."""
    text = str(identifier or "")
    return f"{text[:8]}…{text[-4:]}" if len(text) > 14 else text


@register.filter
def age(moment_: datetime | None, form: str = "ago") -> SafeString | str:
    """`3 s ago`, kept fresh by the script, absolute on hover; `age:"bare"` leaves "ago" away; None is "never"."""
    if moment_ is None:
        return "never"
    passed = (timezone.now() - moment_).total_seconds()
    text = coarse(abs(passed))
    if form != "bare":
        text = f"in{NBSP}{text}" if passed < -1 else f"{text}{NBSP}ago"
    return _time(moment_, text, "age" if form != "bare" else "age-bare")


def coarse(seconds: float) -> str:
    """One unit is enough for an age: `3 s`, `4 min`, `5 h`, `12 d`. The script's `coarse` says the same."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size * (2 if size == DAY else 1):
            return f"{int(seconds // size)}{NBSP}{unit}"
    return f"{int(seconds)}{NBSP}s"


@register.filter
def left(due: datetime | None, form: str = "due") -> SafeString | str:
    """A countdown, `0:40`, `11:55`, `3 h`; late from the last minute on; kept fresh by the script; None is a dash.
    `left:"happens"` counts down to what nobody is late for: it ends in "now"."""
    if due is None:
        return "—"
    seconds = (due - timezone.now()).total_seconds()
    if form == "happens":
        return _time(due, countdown(seconds) if seconds > 0 else "now", "left-happens")
    return _time(due, countdown(seconds), "left", late=seconds < MINUTE)


def countdown(seconds: float) -> str:
    """Time to a deadline: minutes and seconds below an hour, one unit above. The script's `countdown` says the same."""
    if seconds <= 0:
        return "overdue"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)}:{int(seconds % MINUTE):02}"
    return coarse(seconds)


@register.filter
def moment(when: datetime | None, form: str = "seconds") -> SafeString | str:
    """A time of the clock in the person's zone: `14:02:12` today, `20 Nov 14:02` before; `"minutes"` drops seconds,
    `"clock"` the day, which stands elsewhere; `"full"` writes everything."""
    if when is None:
        return "—"
    here = timezone.localtime(when)
    if form == "full":
        text = absolute(when)
    elif form == "clock":
        text = f"{here:%H:%M:%S}"
    elif here.date() == timezone.localdate():
        text = f"{here:%H:%M}" if form == "minutes" else f"{here:%H:%M:%S}"
    elif here.year == timezone.localdate().year:
        text = f"{here.day} {here:%b %H:%M}"
    else:
        text = f"{here.day} {here:%b %Y %H:%M}"
    return _time(when, text.replace(" ", NBSP), "")


def absolute(when: datetime) -> str:
    """`Fri 21 Nov 2025, 14:02:12 CET`: what hovering over any time shows."""
    here = timezone.localtime(when)
    return f"{here:%a} {here.day} {here:%b %Y, %H:%M:%S %Z}"


def _time(when: datetime, text: str, kind: str, *, late: bool = False) -> SafeString:
    """The `<time>` element; `data-time` names the wording that the script renews."""
    exact = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format_html(
        '<time datetime="{}" title="{}"{}{}>{}</time>',
        exact,
        absolute(when),
        format_html(' data-time="{}"', kind) if kind else "",
        format_html(' class="{}"', "left late" if late else "left") if kind == "left" else "",
        text,
    )
