"""The list of runs as a file: the rows on screen, in their order, with every digit.

Apart from the page because a file is read by programs: JSON is what the API says of the same runs, and in a spreadsheet
what is unknown is the word "unknown", where an empty cell would be taken for 0.
"""

import csv
import json
from collections.abc import Iterable
from io import StringIO
from typing import Any

from django.http import HttpResponse
from django.utils import timezone

from agents.models import Run
from agents.runs.shapes import RunItem
from agents.wire import say_moment

FORMULA = ("=", "+", "-", "@", "\t", "\r")
UNKNOWN = {"tokens_in": "unknown", "tokens_out": "unknown", "cost": "unpriced"}
ELSEWHERE = {**UNKNOWN, "cost": "unknown"}
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def answer(runs: Iterable[Run], *, query: str, suffix: str) -> HttpResponse:
    """A file to keep: `runs-2026-11-21-0330.csv`."""
    items = [RunItem.of(run).model_dump(mode="json") for run in runs]
    text = as_csv(items) if suffix == "csv" else as_json(items, query)
    response = HttpResponse(text, content_type=TYPES[suffix])
    name = f"runs-{timezone.localtime():%Y-%m-%d-%H%M}.{suffix}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def as_json(items: list[dict[str, Any]], query: str) -> str:
    """The rows with the query that found them."""
    return json.dumps(
        {"query": query, "as_of": say_moment(timezone.now()), "items": items}, indent=1, ensure_ascii=False
    )


def as_csv(items: list[dict[str, Any]]) -> str:
    """The rows behind a row of names."""
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(RunItem.model_fields))
    writer.writeheader()
    for item in items:
        unknown = ELSEWHERE if item["queue"] == Run.Queue.OUTSIDE else UNKNOWN
        writer.writerow({name: _cell(value, unknown.get(name, "")) for name, value in item.items()})
    return text.getvalue()


def _cell(value: Any, unknown: str) -> Any:
    """A cell that a spreadsheet neither runs as a formula nor takes for nothing."""
    if value is None:
        return unknown
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
