"""Calibration as a Plotly figure, made of plain values: nothing here imports Plotly or names a colour.

The page's script draws it in the colours of the page; its table says the same to whoever cannot see it.
"""

from dataclasses import dataclass

from agents.contracts import Json
from approvals.learning.calibration import Calibration
from approvals.learning.outcomes import Outcome, Outcomes
from approvals.learning.statistics import BINS

WIDTH = 100 / BINS
MIDDLES = [WIDTH * (place + 0.5) for place in range(BINS)]
WORDS = [f"{WIDTH * place:.0f}–{WIDTH * (place + 1):.0f} %" for place in range(BINS)]


def reliability(found: Calibration, *, threshold: float | None, proposed: float | None = None) -> Json:
    """How often it was right in each tenth of what it said, with 95 % intervals; the line on which right is as often as
    said; the threshold in force, and one that is proposed instead."""
    bins = found.bins
    x = [WIDTH * (round(one.low * BINS) + 0.5) for one in bins]
    right = [_percent(one.share.value or 0.0) for one in bins]
    above = [_percent(one.share.interval[1] - (one.share.value or 0.0)) for one in bins]
    below = [_percent((one.share.value or 0.0) - one.share.interval[0]) for one in bins]
    data: list[Json] = [
        {
            "type": "bar",
            "name": "Was right, %",
            "x": x,
            "y": right,
            "marker": {"opacity": 0.55},  # what lies over it is seen in either theme
            "error_y": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1},
        },
        {
            "type": "scatter",
            "name": "Said, mean %",
            "mode": "markers",
            "marker": {"symbol": "diamond", "size": 9},
            "x": x,
            "y": [_percent(one.said) for one in bins],
        },
        *_marks(threshold, proposed),
    ]
    layout = {
        "showlegend": True,
        "legend": {"y": 1, "yanchor": "bottom"},
        "xaxis": {"range": [0, 100], "tickvals": MIDDLES, "ticktext": WORDS, "title": {"text": "it said"}},
        "yaxis": {"range": [0, 105], "ticksuffix": " %", "title": {"text": "it was right"}},
        "hovermode": "closest",
        "bargap": 0.1,
    }
    return {"data": data, "layout": layout}


def caption(name: str, found: Calibration) -> str:
    """What the chart shows, in words."""
    what = f" with {found.tool}" if found.tool else ""
    return f"How often {name}{what} was right, by how sure it said it was"


HUES = {
    Outcome.APPROVED: "ok",
    Outcome.VERIFIED: "act",
    Outcome.EDITED: "warn",
    Outcome.REJECTED: "still",
    Outcome.CORRECTED: "bad",
}
"""Right first. Red is only what really happened and was wrong."""
LEAST = 0.015
"""Of a bar: what happened once in a thousand times can be seen."""


@dataclass(frozen=True, slots=True)
class Part:
    """An outcome in a bar of all of them: how many, and from where to where in per cent of the bar."""

    outcome: Outcome
    hue: str
    of: int
    share: float | None
    x: float
    width: float


def parts(counts: Outcomes) -> list[Part]:
    """What came of acts, as parts of one bar, those that are none included."""
    whole, x, found = counts.share.of, 0.0, []
    numbers: dict[Outcome, int] = {outcome: getattr(counts, outcome) for outcome in HUES}
    widths = {outcome: max(of / whole, LEAST) for outcome, of in numbers.items() if of}
    for outcome, of in numbers.items():
        width = 100 * widths.get(outcome, 0.0) / sum(widths.values()) if whole else 0.0
        found.append(Part(outcome, HUES[outcome], of, of / whole if whole else None, round(x, 2), round(width, 2)))
        x += width
    return found


def words(counts: Outcomes) -> str:
    """The same in words, for whoever cannot see the bar."""
    return ", ".join(f"{getattr(counts, outcome):,} {outcome.label}" for outcome in HUES)


def _marks(threshold: float | None, proposed: float | None) -> list[Json]:
    """The lines over the bars; a proposal that is in force already is one line with it."""
    found = [_line("Right as often as said", [0, 100], [0, 100], "dot")]
    if threshold is not None:
        found.append(_line(f"Threshold {threshold:g}", [_percent(threshold)] * 2, [0, 100], "solid"))
    if proposed and proposed != threshold:
        found.append(_line(f"Proposed {proposed:g}", [_percent(proposed)] * 2, [0, 100], "dash"))
    return found


def _line(name: str, x: list[float], y: list[float], dash: str) -> Json:
    """A mark: no figure, but what the figures are read against."""
    return {
        "type": "scatter",
        "name": name,
        "mode": "lines",
        "line": {"dash": dash, "width": 2},
        "meta": "mark",
        "hoverinfo": "name",
        "x": x,
        "y": y,
    }


def _percent(share: float) -> float:
    return round(100 * share, 1)
