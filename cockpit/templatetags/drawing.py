"""Small pictures as SVG with attributes only (the CSP forbids `style=`): icon, sparkline, timeline, meter, share.

The geometry is worked out here, the markup stands in `templates/components/`. Every picture says in words what it
shows, so nothing depends on seeing it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cockpit.templatetags.formatting import Number, count, percent

register = template.Library()

SPARK_WIDTH, SPARK_HEIGHT, SPARK_EDGE = 88.0, 22.0, 2.0
METER_WIDTH = 144
SOURCES = {
    "self_reported": "self-reported by the model",
    "logprob": "from token probabilities",
    "verifier": "from a verifier",
    "track_record": "from its track record",
    "unknown": "no source",
}


@dataclass(frozen=True)
class Segment:
    """One bar of a timeline: what happened from `start` to `end` (None: still going on). `hue` as of a state badge."""

    start: datetime
    end: datetime | None
    label: str
    hue: str = "act"


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """`{% icon "pause" %}`: a sign out of static/icons.svg; hidden from readers unless it has a `label` of its own."""
    picture = format_html('<use href="{}#{}"/></svg>', static("icons.svg"), name)
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}">{}', label, picture)
    return format_html('<svg class="icon" aria-hidden="true">{}', picture)


@register.inclusion_tag("components/sparkline.html")
def sparkline(values: Sequence[Number | None], label: str) -> dict[str, Any]:
    """A line over `values`, oldest first; None is a gap, drawn as none. `label` says what is counted and over what."""
    known = [float(value) for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    step = (SPARK_WIDTH - 2 * SPARK_EDGE) / max(len(values) - 1, 1)
    lines: list[list[tuple[float, float]]] = [[]]
    for position, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        height = SPARK_HEIGHT - SPARK_EDGE - float(value) / top * (SPARK_HEIGHT - 2 * SPARK_EDGE)
        lines[-1].append((round(SPARK_EDGE + position * step, 1), round(height, 1)))
    drawn = [" ".join(f"{x},{y}" for x, y in line) for line in lines if len(line) > 1]
    summary = f"{label}: latest {count(known[-1])}, highest {count(top)}" if known else f"{label}: nothing yet"
    return {"lines": drawn, "dots": [line[0] for line in lines if len(line) == 1], "summary": summary}


@register.inclusion_tag("components/timeline.html")
def timeline(segments: Iterable[Segment], now: datetime, label: str) -> dict[str, Any]:
    """One strip from the first start to the last end; positions are shares of the width, so that text never scales."""
    ordered = sorted(segments, key=lambda segment: segment.start)
    if not ordered:
        return {"bars": []}
    start, end = ordered[0].start, max(segment.end or now for segment in ordered)
    whole = max(end - start, timedelta(milliseconds=1))
    bars = [
        {
            "x": round((segment.start - start) / whole * 100, 2),
            "width": max(round(((segment.end or now) - segment.start) / whole * 100, 2), 0.3),
            "length": (segment.end or now) - segment.start,
            "segment": segment,
        }
        for segment in ordered
    ]
    return {"bars": bars, "start": start, "end": end, "label": label, "open": any(s.end is None for s in ordered)}


@register.inclusion_tag("components/meter.html")
def meter(
    value: Number | None, source: str = "", right: Number | None = None, sample: int | None = None
) -> dict[str, Any]:
    """Confidence with where it comes from and, where known, how often such a figure has been right (of `sample`)."""
    return {
        "value": value,
        "said": None if value is None else round(float(value) * METER_WIDTH),
        "right": right,
        "mark": None if right is None else round(float(right) * METER_WIDTH),
        "width": METER_WIDTH,
        "source": SOURCES.get(source, source),
        "sample": sample,
    }


@register.inclusion_tag("components/share.html")
def share(used: Number, whole: Number | None, label: str, reserved: Number = 0) -> dict[str, Any]:
    """How much of a `whole` is used and reserved, as one bar; without a whole there is nothing to draw."""
    if not whole:
        return {"whole": None, "label": label}
    part, held = float(used) / float(whole), float(reserved) / float(whole)
    return {
        "whole": whole,
        "used": round(min(part, 1) * 100, 2),
        "held": round(max(min(held, 1 - min(part, 1)), 0) * 100, 2),
        "hue": "bad" if part + held > 1 else "warn" if part + held > 0.8 else "act",
        "label": f"{label}: {percent(part)} used" + (f", {percent(held)} reserved" if reserved else ""),
    }
