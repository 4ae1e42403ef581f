"""Pages of a list, cut by key. Apart because every list of every app goes on where the last row stood, page and API:
an offset would read all rows before it, and repeat or skip some when others are added meanwhile.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, QuerySet

from agents import errors

Row = TypeVar("Row", bound=Model)
MOST = 200
USUAL = 50


@dataclass(frozen=True, slots=True)
class Cut(Generic[Row]):
    """Some rows, and the cursor that reads on behind them (None when these are the last)."""

    rows: Sequence[Row]
    next_cursor: str | None


def cut(rows: QuerySet[Row], *, key: str, limit: int, cursor: str = "") -> Cut[Row]:
    """The `limit` rows behind `cursor`, ordered by `key`, a unique column (`-id` for newest first)."""
    name, kind = key.lstrip("-"), rows.model._meta.model_name
    if cursor:
        way = "lt" if key.startswith("-") else "gt"
        rows = rows.filter(**{f"{name}__{way}": _position(cursor, rows.model, name)})
    found = list(rows.order_by(key)[: limit + 1])
    if len(found) <= limit:
        return Cut(found, None)
    last = getattr(found[limit - 1], name)
    return Cut(found[:limit], urlsafe_b64encode(f"{kind}:{last}".encode()).decode().rstrip("="))


def _position(cursor: str, model: type[Model], name: str) -> Any:
    """The key a cursor stands for; refuses what no list of this kind has given."""
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
        kind, _, value = text.partition(":")
        if kind == model._meta.model_name and value and "\0" not in value:
            field = model._meta.get_field(name)
            assert isinstance(field, Field)
            return field.to_python(value)
    except (binascii.Error, ValueError, ValidationError):
        pass
    raise errors.Invalid(
        "`cursor` is not one that this list gave; send `next_cursor` as it came, or leave it out to begin.",
        field="cursor",
    )
