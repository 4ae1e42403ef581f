"""Finding runs: the query bar, the chips and the saved views all become one set of filters.

A query is words and `name:value` pairs: `state:failed agent:refunds cost:>0.50 since:1h order 4711`. What is in
quotation marks is a word, whatever it contains.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from django.db.models import Case, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value, When
from django.db.models.fields import BooleanField
from django.utils import timezone

from agents import errors
from agents.models import Agent, Run, Step, User
from agents.runs import fleet, overridden
from agents.runs.shapes import earliest_id

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
TOKEN = re.compile(r'"([^"]*)"|(\S+)')
PAIR = re.compile(r"([a-z]+):(.*)", re.IGNORECASE | re.DOTALL)
SIMULATED = [{"provider": "simulated"}]

VIEWS: dict[str, tuple[str, str]] = {
    "all": ("All", ""),
    "running": ("Running", "state:running,queued"),
    "waiting": ("Waiting on people", "waits:people"),
    "paused": ("Paused", "state:paused"),
    "failed": ("Failures", "state:failed"),
    "hour": ("Last hour", "since:1h"),
    "expensive": ("Expensive", "cost:>0.05"),
}


@dataclass
class Query:
    """A query, read: the filter it makes, the words it found, and what was named (`agent` → `desk,refunds`)."""

    filters: Q = field(default_factory=Q)
    words: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)


def read(text: str) -> Query:
    """Parse a query; a name that does not exist or a value that does not fit is refused with what would be right."""
    query = Query()
    for quoted, token in TOKEN.findall(text):
        pair = None if quoted else PAIR.fullmatch(token)
        if pair is None:
            query.words.append(quoted or token)
            continue
        name, value = pair[1].lower(), pair[2]
        if name not in FILTERS:
            raise errors.Invalid(
                f"“{name}:” filters nothing here. Runs are found by {', '.join(FILTERS)}, or by words of their "
                f'objective; write "{token}" in quotation marks to look for just that.',
                field="q",
            )
        if not value:
            raise errors.Invalid(f"“{name}:” needs a value, such as {EXAMPLES[name]}.", field="q")
        query.named[name] = value
        query.filters &= FILTERS[name](value)
    for word in query.words:
        query.filters &= Q(objective__icontains=word.replace("\0", ""))
    return query


def _state(value: str) -> Q:
    states = value.lower().split(",")
    unknown = [state for state in states if state not in Run.State.values]
    if unknown:
        raise errors.Invalid(f"“{unknown[0]}” is no state; runs are {', '.join(Run.State.values)}.", field="q")
    return Q(state__in=states)


def _waits(value: str) -> Q:
    wanted = value.lower().split(",")
    known = [kind for kind in Run.Waits.values if kind]
    if unknown := [kind for kind in wanted if kind not in (*known, "people")]:
        said = ", ".join(["people", *known])
        raise errors.Invalid(f"“{unknown[0]}” is nothing that runs wait for; they wait for {said}.", field="q")
    kinds = {*wanted, *(fleet.PEOPLE if "people" in wanted else ())}
    return Q(state=Run.State.WAITING, waits__in=kinds)


def _cost(value: str) -> Q:
    found = re.fullmatch(r"([<>]?)\$?(\d{1,9}(?:\.\d{1,9})?)", value)
    if not found:
        raise errors.Invalid(f"“{value}” is not an amount; write cost:>0.50 or cost:<2.", field="q")
    way = {"<": "cost__lt", ">": "cost__gt", "": "cost__gte"}[found[1]]
    is_known = Q(cost__gt=0) | Q(unpriced=0) & ~Q(queue=Run.Queue.OUTSIDE)
    return Q(**{way: Decimal(found[2])}) & is_known


def _since(value: str) -> Q:
    found = re.fullmatch(r"(\d{1,4})([mhd])", value)
    if not found:
        raise errors.Invalid(f"“{value}” is no stretch of time; write since:30m, since:2h or since:7d.", field="q")
    return Q(pk__gte=earliest_id(timezone.now() - timedelta(**{UNITS[found[2]]: int(found[1])})))


def _queue(value: str) -> Q:
    if value not in Run.Queue.values:
        raise errors.Invalid(f"“{value}” is no queue; there are {', '.join(Run.Queue.values)}.", field="q")
    return Q(queue=value)


def _by(value: str) -> Q:
    return Q(started_by=None) if value == "cockpit" else Q(started_by__username__iexact=value)


FILTERS: dict[str, Callable[[str], Q]] = {
    "state": _state,
    "waits": _waits,
    "agent": lambda value: Q(agent__slug__in=value.split(",")),
    "cost": _cost,
    "since": _since,
    "failure": lambda value: Q(failure_class__startswith=value),
    "queue": _queue,
    "by": _by,
}
EXAMPLES = {
    "state": "state:failed",
    "waits": "waits:people",
    "agent": "agent:refunds",
    "cost": "cost:>0.50",
    "since": "since:1h",
    "failure": "failure:limit",
    "queue": "queue:bulk",
    "by": "by:olga",
}


def listed(user: User) -> QuerySet[Run]:
    """Runs with the names a list shows, the model chain of their release, whether a simulated model is in it,
    since when they wait, and whether models were asked of which none told its tokens."""
    asked = Step.objects.filter(run=OuterRef("pk"), kind=Step.Kind.MODEL, state=Step.State.DONE)
    is_simulated = Q(release__bundle__models__contains=SIMULATED)
    rows = Run.objects.visible_to(user).select_related("agent", "release", "team", "started_by")
    shown: QuerySet[Run] = rows.defer("release__bundle").annotate(
        chain=F("release__bundle__models"),
        is_simulated=ExpressionWrapper(is_simulated, output_field=BooleanField()),
        is_overridden=overridden.OF_RUN,
        waiting_since=fleet.WAITING_SINCE,
        is_untold=Case(
            When(tokens_in=0, tokens_out=0, queue=Run.Queue.OUTSIDE, then=Value(True)),
            When(tokens_in=0, tokens_out=0, then=Exists(asked)),
            default=Value(False),
        ),
    )
    return shown


def find(user: User, text: str) -> QuerySet[Run]:
    """Runs that this user may see and a query means; an agent that is not there is named, not silently nothing."""
    query = read(text)
    if slugs := set(filter(None, query.named.get("agent", "").split(","))):
        known = set(Agent.objects.visible_to(user).filter(slug__in=slugs).values_list("slug", flat=True))
        if unknown := sorted(slugs - known):
            raise errors.Invalid(f"There is no agent “{unknown[0]}” that you may see.", field="q")
    return listed(user).defer("input", "result", "release__bundle").filter(query.filters)
