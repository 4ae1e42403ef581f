"""What the simulated models are said to cost, from when: made up, so that a fleet without a provider shows money that
behaves like money.

Apart from `pricing` because it is a table, not a rule. Every price made from it names `SOURCE` in its basis, and pages
say "simulated" wherever such an amount is part of a sum. Nobody is ever charged these.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

PROVIDER = "simulated"
SOURCE = "simulated price"


@dataclass(frozen=True, slots=True)
class Row:
    """What a model costs from a moment on, in USD per million tokens."""

    model: str
    since: datetime
    input: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal


def _row(model: str, since: tuple[int, int, int], *prices: str) -> Row:
    return Row(model, datetime(*since, tzinfo=UTC), *map(Decimal, prices))


# Per model the newest first. A price that changes gets a new row: what was booked at the old one stays explained by it.
TABLE = (
    _row("sim-large", (2026, 7, 1), "2.50", "0.25", "3.125", "12.50"),
    _row("sim-large", (2020, 1, 1), "3.00", "0.30", "3.75", "15.00"),
    _row("sim-medium", (2020, 1, 1), "1.00", "0.10", "1.25", "5.00"),
    _row("sim-small", (2020, 1, 1), "0.15", "0.015", "0.1875", "0.60"),
    _row("sim-embedding", (2020, 1, 1), "0.02", "0.02", "0.02", "0"),
)


def find(model: str, at: datetime) -> Row | None:
    """The row in force at a moment; None for a model, or a time, that the table does not know. A model may be named as
    a release names it or as calls of it are labelled: `sim-large` or `sim-large (simulated)`."""
    name = model.removesuffix(" (simulated)")
    return next((row for row in TABLE if row.model == name and row.since <= at), None)
