"""A statement as a file: the lines on screen, in their order, with every digit.

Apart from the page because a file is read by programs: amounts are plain decimals, unknown is empty in JSON's sense
(null) and the word "unpriced" in a spreadsheet, where an empty cell would be taken for 0.
"""

import csv
import json
from decimal import Decimal
from io import StringIO

from agents.contracts import Json
from agents.wire import say_moment, say_money
from finops.reports import Cost
from finops.statement import Line, Statement

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _row(label: str, cost: Cost, share: Decimal | None) -> Json:
    """The cells of one line, as the screen names them; money in US dollars."""
    known = None if cost.spent is None else say_money(cost.spent)
    return {
        "name": label,
        "amount_usd": known,
        "share": None if share is None else f"{share:.4f}",
        "estimated_usd": _money(cost.estimated_amount),
        "recorded_usd": _money(cost.recorded_amount),
        "simulated_usd": _money(cost.simulated_amount),
        "calls": cost.calls,
        "unpriced_calls": cost.unpriced_calls,
        "tokens_in": cost.tokens_in,
        "tokens_out": cost.tokens_out,
    }


def _money(part: Decimal | None) -> str:
    """A part of an amount: nothing of it is 0."""
    return say_money(part or Decimal(0))


def _line(line: Line) -> Json:
    return _row(line.cost.label, line.cost, line.share)


def as_json(statement: Statement) -> str:
    """The lines with what was asked and the total."""
    question = statement.question
    return json.dumps(
        {
            "group_by": question.group_by,
            "since": say_moment(question.period.since),
            "until": say_moment(question.period.until),
            "time_zone": str(question.period.zone),
            "filters": question.filters,
            "as_of": say_moment(statement.now),
            "items": [_line(line) for line in statement.lines],
            "total": _row("Total", statement.total, None),
        },
        indent=1,
    )


def as_csv(statement: Statement) -> str:
    """The lines and the total, with a first row of names."""
    rows = [*map(_line, statement.lines), _row("Total", statement.total, None)]
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow([statement.question.group_by, *list(rows[0])[1:]])
    for row in rows:
        writer.writerow([_cell(name, value) for name, value in row.items()])
    return text.getvalue()


def _cell(name: str, value: object) -> object:
    """A cell that a spreadsheet neither runs as a formula nor takes for nothing."""
    if value is None:
        return {"amount_usd": "unpriced", "share": ""}.get(name, "unknown")
    if name == "name" and str(value).startswith(FORMULA):
        return f"'{value}"
    return value


def filename(statement: Statement, suffix: str) -> str:
    """`costs-by-agent-2026-11-14-2026-11-20.csv`."""
    days = statement.question.period.days
    return f"costs-by-{statement.question.group_by}-{days['from']}-{days['to']}.{suffix}"
