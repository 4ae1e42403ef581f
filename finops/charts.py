"""Spending as a Plotly figure, made of plain values: nothing here imports Plotly or names a colour.

The page's script draws the figure in the colours of the page, and shows the same values as a table.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from agents.contracts import Json
from agents.wire import say_money
from finops.periods import DAY, FIVE_MINUTES, HOUR, MONTH, Period
from finops.reports import Series

WORDS = {FIVE_MINUTES: "5 minutes", HOUR: "hour", DAY: "day", MONTH: "month"}


def spending(period: Period, series: Sequence[Series]) -> Json:
    """Stacked bars: one colour a part, one bar a step. Amounts travel as text, as exact as they are."""
    steps = labels(period)
    bars = [
        {
            "type": "bar",
            "name": line.label,
            "x": steps,
            "y": [None if amount is None else say_money(amount) for amount in line.amounts],
            "hovertemplate": "%{y:$,.6~f}",
        }
        for line in series
    ]
    layout = {
        "barmode": "stack",
        "showlegend": True,
        "legend": {"y": 1, "yanchor": "bottom"},
        "xaxis": {"type": "category", "nticks": 8},
        "yaxis": {"type": "linear", "tickprefix": "$", "rangemode": "tozero"},
    }
    return {"data": bars, "layout": layout}


def caption(period: Period, of: str) -> str:
    """What the chart shows, in words: for those who hear it, and above its table."""
    return f"US dollars per {WORDS[period.step]} by {of.replace('_', ' ')}, {period.words}"


def small_bars(amounts: Sequence[Decimal | None]) -> list[tuple[int, int]]:
    """A picture for a panel: the left edge and the height of a bar per amount, in a field 20 high, 12 a bar."""
    highest = max((amount for amount in amounts if amount), default=None)
    heights = [max(round(amount / highest * 20), 1) if amount and highest else 0 for amount in amounts]
    return [(12 * place, height) for place, height in enumerate(heights)]


def labels(period: Period) -> list[str]:
    """A word for each step, no two alike: an hour that comes twice in autumn is told apart by its zone."""
    local = [start.astimezone(period.zone) for start in period.starts()]
    words = [_label(start, period.step) for start in local]
    return [word if words.count(word) == 1 else f"{word} {start:%Z}" for word, start in zip(words, local, strict=True)]


def _label(start: datetime, step: str) -> str:
    if step == MONTH:
        return f"{start:%b %Y}"
    if step == DAY:
        return f"{start.day} {start:%b}"
    return f"{start:%H:%M}" if step == FIVE_MINUTES else f"{start.day} {start:%b %H:%M}"
