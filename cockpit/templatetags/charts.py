"""Charts: a Plotly figure made on the server, drawn by the script, with its figures as a table for everyone else."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import template
from django.templatetags.static import static

from cockpit.assets import PLOTLY

register = template.Library()


@register.inclusion_tag("components/chart.html")
def chart(figure: Mapping[str, Any], label: str, height: str = "", table: str = "") -> dict[str, Any]:
    """`{% chart figure "Cost per day by agent" %}`: `figure` is `{"data": [traces], "layout": {…}}`, plain values only.

    Colours, type and grid come from the page's tokens, so a figure names none. Traces with `x` and `y` make the table;
    where the page has one of its own that says the same and more, `table` is its id, and there is no second.
    """
    return {
        "figure": figure,
        "label": label,
        "is_low": height == "low",
        "key": f"chart-{uuid4().hex[:8]}",
        "plotly": static(PLOTLY),
        "table": table,
        **({} if table else _table(figure)),
    }


def _table(figure: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as columns (one a trace) and rows (one an x, in the order of first appearance)."""
    traces = [trace for trace in figure.get("data", []) if "x" in trace and "y" in trace]
    values = [dict(zip(trace["x"], trace["y"], strict=False)) for trace in traces]
    steps = list(dict.fromkeys(x for trace in traces for x in trace["x"]))
    return {
        "columns": [trace.get("name", "value") for trace in traces],
        "rows": [(step, [known.get(step) for known in values]) for step in steps],
    }
