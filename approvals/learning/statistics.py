"""The arithmetic of being right: shares with their intervals, calibration, thresholds. Pure functions of counts.

Confidences are counted in hundredths (`Cell`), which the database can do for any number of decisions: every figure here
is exact for such counts. Nothing is smoothed and nothing is assumed; what rests on few cases says on how many.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from itertools import groupby
from math import sqrt

Z = 1.959963984540054
"""Two-sided 95 %."""
CELLS = 100
BINS = 10


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927): honest for few cases and for shares near 0 and 1. All of [0, 1]
    where there is no case."""
    if of == 0:
        return 0.0, 1.0
    share, spread = right / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z * sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


@dataclass(frozen=True, slots=True)
class Share:
    """So many right, of so many."""

    right: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.right / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Between what and what it lies, at 95 %."""
        return wilson(self.right, self.of)


@dataclass(frozen=True, slots=True)
class Cell:
    """All cases whose confidence lies in one hundredth, [place/100, (place+1)/100): how many, how many of them right,
    and the sum of what was said."""

    place: int
    of: int
    right: int
    said: float


@dataclass(frozen=True, slots=True)
class Bin:
    """A tenth of the scale: what was said there in the mean, and how often that was right."""

    low: float
    share: Share
    said: float

    @property
    def high(self) -> float:
        """Where the next one begins."""
        return round(self.low + 1 / BINS, 4)

    @property
    def gap(self) -> float:
        """How far what was said is from what came true."""
        return abs((self.share.value or 0.0) - self.said)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A confidence from which on an agent is right often enough, and on what that rests."""

    value: float
    share: Share
    covers: Share
    """How many of all cases with a confidence lie at or above it."""


def place_of(confidence: float) -> int:
    """The cell of a confidence: 0.29 is in the 29th, though 0.29 * 100 is less than 29 in floating point."""
    return min(CELLS, int((Decimal(repr(confidence)) * CELLS).to_integral_value(rounding=ROUND_FLOOR)))


def cells(judged: Iterable[tuple[float, bool]]) -> list[Cell]:
    """Counts of single cases, as the database makes them."""
    ordered = sorted((place_of(confidence), confidence, right) for confidence, right in judged)
    return [
        Cell(place, len(rows), sum(right for *_, right in rows), sum(said for _, said, _ in rows))
        for place, rows in ((place, list(found)) for place, found in groupby(ordered, key=lambda row: row[0]))
    ]


def total(counted: Iterable[Cell]) -> Share:
    """All of them together."""
    rows = list(counted)
    return Share(sum(cell.right for cell in rows), sum(cell.of for cell in rows))


def bins(counted: Iterable[Cell]) -> list[Bin]:
    """The tenths of the scale in which anything was said, lowest first."""
    found: dict[int, list[Cell]] = {}
    for cell in counted:
        found.setdefault(min(cell.place * BINS // CELLS, BINS - 1), []).append(cell)
    return [_bin(place, rows) for place, rows in sorted(found.items())]


def _bin(place: int, rows: list[Cell]) -> Bin:
    share = total(rows)
    return Bin(place / BINS, share, sum(cell.said for cell in rows) / share.of)


def bin_of(confidence: float, counted: Iterable[Cell]) -> Bin | None:
    """What is known of a confidence like this one; None where nothing like it was ever said."""
    low = min(place_of(confidence) * BINS // CELLS, BINS - 1) / BINS
    return next((one for one in bins(counted) if one.low == low), None)


def calibration_error(counted: Iterable[Cell]) -> float | None:
    """The expected calibration error (Naeini et al., 2015): the mean gap between said and true over ten bins, weighted
    by how many cases are in each. None of nothing."""
    found = bins(counted)
    of = sum(one.share.of for one in found)
    return sum(one.gap * one.share.of for one in found) / of if of else None


def at_or_above(counted: Iterable[Cell], least: float) -> Share:
    """How many were right of those at or above a confidence, in whole hundredths."""
    return total(cell for cell in counted if cell.place / CELLS >= least)


def threshold(counted: Sequence[Cell], *, target: float, enough: int) -> Threshold | None:
    """The smallest hundredth at or above which at least `enough` cases were right in at least `target` of them.
    None where no threshold does."""
    ordered = sorted(counted, key=lambda cell: cell.place)
    places = [cell.place for cell in ordered]
    everything = total(ordered)
    for place in range(CELLS + 1):
        above = total(ordered[bisect_left(places, place) :])
        if above.of < enough:
            return None  # and higher up there are fewer still
        if above.right >= target * above.of:
            return Threshold(place / CELLS, above, Share(above.of, everything.of))
    return None
