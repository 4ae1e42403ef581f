"""Finding runs: the query bar, the chips and the saved views all become one set of filters.

A query is words and `name:value` pairs: `state:failed agent:refunds cost:>0.50 since:1h order 4711`.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from agents import errors
from agents.runs.models import Run

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
NAMES = ("state", "agent", "cost", "since", "failure", "queue", "by")

VIEWS: dict[str, tuple[str, str]] = {
    "all": ("All", ""),
    "running": ("Running", "state:running,queued"),
    "waiting": ("Waiting on people", "state:waiting"),
    "failed": ("Failures", "state:failed"),
    "hour": ("Last hour", "since:1h"),
    "expensive": ("Expensive", "cost:>0.05"),
}


@dataclass
class Query:
    """A query, read: the filter it makes and the words it found."""

    filters: Q = field(default_factory=Q)
    words: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)


def read(text: str) -> Query:
    """Parse a query; a name that does not exist or a value that does not fit is refused with what would be right."""
    query = Query()
    for token in text.split():
        name, colon, value = token.partition(":")
        if not colon or not name.isalpha():
            query.words.append(token)
            continue
        if name not in NAMES:
            raise errors.Invalid(f"“{name}:” is no filter of runs; there are {', '.join(NAMES)}.", field="q")
        query.named[name] = value
        query.filters &= FILTERS[name](value)
    for word in query.words:
        query.filters &= Q(objective__icontains=word)
    return query


def _state(value: str) -> Q:
    states = value.split(",")
    unknown = [state for state in states if state not in Run.State.values]
    if unknown:
        raise errors.Invalid(f"“{unknown[0]}” is no state; runs are {', '.join(Run.State.values)}.", field="q")
    return Q(state__in=states)


def _cost(value: str) -> Q:
    found = re.fullmatch(r"([<>]?)(\d+(?:\.\d+)?)", value)
    if not found:
        raise errors.Invalid(f"“cost:{value}” is not an amount; write cost:>0.50 or cost:<2.", field="q")
    try:
        amount = Decimal(found[2])
    except InvalidOperation as error:
        raise errors.Invalid(f"“{found[2]}” is not an amount.", field="q") from error
    return Q(**{"cost__lt" if found[1] == "<" else "cost__gt" if found[1] else "cost__gte": amount})


def _since(value: str) -> Q:
    found = re.fullmatch(r"(\d{1,4})([mhd])", value)
    if not found:
        raise errors.Invalid(
            f"“since:{value}” is no stretch of time; write since:30m, since:2h or since:7d.", field="q"
        )
    return Q(created_at__gte=timezone.now() - timedelta(**{UNITS[found[2]]: int(found[1])}))


FILTERS: dict[str, Any] = {
    "state": _state,
    "agent": lambda value: Q(agent__slug__in=value.split(",")),
    "cost": _cost,
    "since": _since,
    "failure": lambda value: Q(failure_class__startswith=value),
    "queue": lambda value: Q(queue=value),
    "by": lambda value: Q(started_by__username__iexact=value),
}


def find(runs: QuerySet[Run], text: str) -> QuerySet[Run]:
    """Runs that a query means."""
    return runs.filter(read(text).filters)
