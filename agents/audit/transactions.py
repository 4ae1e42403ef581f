"""Transaction ids as column values.

A batch reader that remembers the last id or time it saw skips rows of a slow transaction that commits late. One that
reads rows whose transaction id lies below the oldest transaction still running (`pg_snapshot_xmin`) does not.
"""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Func

if TYPE_CHECKING:  # generic for the type checker only
    IntField = models.Field[int, int]
else:
    IntField = models.Field


class CurrentXid(Func):
    """`pg_current_xact_id()`: the 64-bit id of this transaction, which never wraps around."""

    template = "pg_current_xact_id()"
    arity = 0


class CurrentXidNumber(Func):
    """The same as a number, for tables so large that only a BRIN index will do: there is none for `xid8`."""

    template = "pg_current_xact_id()::text::bigint"
    arity = 0


class Xid8Field(IntField):
    """A column of PostgreSQL's type `xid8`, filled by the database with the writing transaction's id."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("db_default", CurrentXid(output_field=models.BigIntegerField()))
        options.setdefault("editable", False)
        super().__init__(**options)

    def db_type(self, connection: object) -> str:
        """The PostgreSQL type."""
        return "xid8"

    def from_db_value(self, value: object, expression: object, connection: object) -> int | None:
        """psycopg hands xid8 over as text."""
        return None if value is None else int(str(value))

    def get_prep_value(self, value: Any) -> Any:
        """Compared as text, which PostgreSQL reads as xid8."""
        return value if value is None or hasattr(value, "resolve_expression") else str(value)
