"""How values look on the wire: the types that every API door of every app is made of.

Apart from the doors so that a time, a sum of money or an unknown looks the same behind all of them.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from django.db.models import TextChoices
from django.http import HttpRequest
from ninja import Schema
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from agents.contracts import Source
from agents.keyset import MOST, USUAL
from agents.people.models import User

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
MOMENT = {"type": "string", "format": "date-time"}
MONEY = {"type": "string", "pattern": r"^-?\d+\.\d{2,}$", "examples": ["0.01234"]}


class ActorRequest(HttpRequest):
    """A request that has been let in: `actor` is who acts, by token or by session."""

    actor: User


# --- values that go out -----------------------------------------------------------------------------------------------
def say_moment(at: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def say_money(amount: Decimal) -> str:
    """Every digit that counts, and at least two decimals: 0.01230000 is 0.0123, 3 is 3.00."""
    whole, _, decimals = f"{amount:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


Moment = Annotated[datetime, PlainSerializer(say_moment, return_type=str), WithJsonSchema(MOMENT)]
Money = Annotated[Decimal, PlainSerializer(say_money, return_type=str), WithJsonSchema(MONEY)]


def one_of(kind: type[TextChoices]) -> WithJsonSchema:
    """The values of a choice, written out: several classes are called State, and a reference would confuse them."""
    return WithJsonSchema({"type": "string", "enum": kind.values})


Words = Annotated[str | None, BeforeValidator(lambda text: text or None)]
"""A text; a column with nothing to say is null."""


class Out(Schema):
    """What goes out."""

    @classmethod
    def taken_from(cls, row: object, **others: Any) -> Self:
        """Every field from the row's attribute of the same name, but those given."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields if name not in others}, **others)


class ConfidenceOut(Out):
    """A confidence and who says so; unknown is null."""

    value: float | None
    source: Annotated[Source, WithJsonSchema({"type": "string", "enum": list(Source)})]

    @classmethod
    def of(cls, row: Any) -> Self:
        """From the two columns that hold it."""
        return cls(value=row.confidence, source=Source(row.confidence_source or Source.UNKNOWN))


Item = TypeVar("Item")


class Page(Out, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None


# --- values that come in ----------------------------------------------------------------------------------------------
def read_moment(value: object) -> datetime:
    """A time with its zone, as UTC."""
    if not isinstance(value, str) or not RFC_3339.fullmatch(value):
        raise ValueError("must be a time with its zone, such as 2025-11-21T09:30:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"is no time in any calendar: {value}") from None


def read_several(value: object) -> list[str]:
    """A filter's values: repeated, or separated by commas."""
    texts: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return [part.strip() for text in texts for part in str(text).split(",")]


GivenMoment = Annotated[datetime, BeforeValidator(read_moment), WithJsonSchema(MOMENT)]
Several = BeforeValidator(read_several)
"""`Annotated[list[X], Several]`: any of these."""
# Filters that may be left out. An address cannot say null, so the schema does not offer it.
MomentFilter = Annotated[GivenMoment | None, WithJsonSchema(MOMENT)]
UuidFilter = Annotated[UUID | None, WithJsonSchema({"type": "string", "format": "uuid"})]
Wanted = Annotated[str, Field(min_length=1)]
SwitchFilter = Annotated[bool | None, WithJsonSchema({"type": "boolean"})]
Slugs = Annotated[list[str], Several]


class Body(Schema):
    """What comes in. A field nobody knows is refused: it was meant to do something."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class Filters(Schema):
    """Where a list begins and how much of it is wanted; each door adds its filters."""

    limit: int = Field(USUAL, ge=1, le=MOST, description="How many.")
    cursor: str = Field("", max_length=400, description="`next_cursor` of the page before.")
