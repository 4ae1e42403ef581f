"""What was spent: sums over the ledger by agent, team, use case, model, provider, release, day or hour.

Pages, the API and downloads read the same figures here. Sums are made by the database, in Decimal, over rows a person
may see. A sum of nothing but unpriced calls is None: unknown, never 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Aggregate, Case, Count, F, Max, Min, Q, QuerySet, Sum, When
from django.db.models.fields.json import KeyTextTransform
from django.utils import timezone

from agents import errors
from agents.models import Agent, AgentMinute, Release, Run, Team, User
from finops import periods, simulated_prices
from finops.models import LedgerEntry
from finops.periods import Period

Kind = LedgerEntry.Kind
FILTERS = {
    "agent": "agent__slug",
    "team": "team__slug",
    "use_case": "use_case",
    "model": "model",
    "provider": "provider",
}
UNNAMED = {"use_case": "no use case", "model": "unknown model", "provider": "unknown provider"}
EVERY = Q()
# Each figure: the column that is summed ("id" counts calls), and over which entries.
FIGURES = {
    "amount": ("amount", EVERY),
    "estimated_amount": ("amount", Q(kind=Kind.ESTIMATED)),
    "recorded_amount": ("amount", Q(kind=Kind.RECORDED)),
    "simulated_amount": ("amount", Q(provider=simulated_prices.PROVIDER)),
    "calls": ("id", EVERY),
    "estimated_calls": ("id", Q(kind=Kind.ESTIMATED)),
    "unpriced_calls": ("id", Q(kind=Kind.UNPRICED)),
    "tokens_in": ("tokens_in", EVERY),
    "tokens_out": ("tokens_out", EVERY),
}


def sums(figures: Iterable[str] = FIGURES, where: Q = EVERY, prefix: str = "sum_") -> dict[str, Aggregate]:
    """The SQL sums for these figures over entries that also fulfil `where`; prefixed, to stay apart from columns."""
    wanted = {name: (FIGURES[name][0], FIGURES[name][1] & where) for name in figures}
    return {
        f"{prefix}{name}": (Count if column == "id" else Sum)(column, filter=condition or None)
        for name, (column, condition) in wanted.items()
    }


@dataclass(frozen=True, slots=True)
class Cost:
    """What one group of calls cost, in USD. `amount` is None when none has a price; tokens, when no call told.

    `group` names the group in addresses and to the API; `label` is what people read. The estimated, recorded and
    simulated amounts are parts of `amount`; unpriced calls are in none of them.
    """

    group: str
    label: str
    amount: Decimal | None = None
    estimated_amount: Decimal | None = None
    recorded_amount: Decimal | None = None
    simulated_amount: Decimal | None = None
    calls: int = 0
    estimated_calls: int = 0
    unpriced_calls: int = 0
    tokens_in: int | None = None
    tokens_out: int | None = None
    key: object = None

    @property
    def spent(self) -> Decimal | None:
        """The amount for people: nothing was spent where nothing was called; unknown where no call has a price."""
        return self.amount if self.calls else Decimal(0)

    @property
    def is_simulated(self) -> bool:
        """Whether every dollar of it is simulated."""
        return bool(self.simulated_amount) and self.simulated_amount == self.amount

    @property
    def priced_calls(self) -> int:
        """Calls whose price is known, as recorded or by counted tokens."""
        return self.calls - self.estimated_calls - self.unpriced_calls


def add(*amounts: Any) -> Any:
    """The sum of what is known; None when nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known[1:], known[0]) if known else None


def total(rows: Iterable[Cost], *, group: str = "", label: str = "Total") -> Cost:
    """One row that holds all of them."""
    whole = Cost(group, label)
    for row in rows:
        whole = replace(whole, **{name: add(getattr(whole, name), getattr(row, name)) for name in FIGURES})
    return whole


def entries(user: User, filters: Mapping[str, str] | None = None) -> "QuerySet[LedgerEntry]":
    """The entries a person may see, narrowed by `FILTERS`."""
    for name, value in (filters or {}).items():
        if name not in FILTERS:
            raise errors.Invalid(f"Costs cannot be filtered by {name!r}, only by {', '.join(FILTERS)}.", field=name)
        if "\0" in value:
            raise errors.Invalid(f"`{name}` holds a NUL character, which no name has.", field=name)
    seen: QuerySet[LedgerEntry] = LedgerEntry.objects.visible_to(user)
    return seen.filter(**{FILTERS[name]: value for name, value in (filters or {}).items()})


def within(rows: "QuerySet[LedgerEntry]", since: datetime | None, until: datetime | None) -> "QuerySet[LedgerEntry]":
    """Entries of calls made from `since` on and before `until`, where given."""
    if since and until and since >= until:
        raise errors.Invalid(
            f"`since` ({since:%Y-%m-%d %H:%M}) must lie before `until` ({until:%Y-%m-%d %H:%M}).", field="since"
        )
    rows = rows.filter(at__gte=since) if since else rows
    return rows.filter(at__lt=until) if until else rows


def _figures(row: Any, prefix: str = "sum_", names: Iterable[str] = FIGURES) -> dict[str, Any]:
    """The figures in a row of the database's answer."""
    return {name: row[f"{prefix}{name}"] for name in names}


def extent(user: User) -> tuple[datetime, datetime] | None:
    """When the first and the last call were made that a person may see; None before the first."""
    found = entries(user).aggregate(first=Min("at"), last=Max("at"))
    return (found["first"], found["last"]) if found["first"] else None


# --- by group ---------------------------------------------------------------------------------------------------------
def costs(
    group_by: str,
    *,
    user: User,
    since: datetime | None = None,
    until: datetime | None = None,
    zone: tzinfo | None = None,
    filters: Mapping[str, str] | None = None,
) -> list[Cost]:
    """What each group cost, dearest first; days and hours newest first, begun at midnight in `zone`."""
    if group_by not in GROUPS:
        raise errors.Invalid(f"`group_by` cannot be {group_by!r}; it can be {', '.join(GROUPS)}.", field="group_by")
    zone = zone or timezone.get_current_timezone()
    rows = within(entries(user, filters), since, until)
    key = periods.started(group_by, zone) if group_by in TIMES else F(COLUMNS[group_by])
    found = list(rows.order_by().values(key=key).annotate(**sums()))
    names = GROUPS[group_by]([row["key"] for row in found], zone)
    made = {
        row["key"]: Cost(*names.get(row["key"], (str(row["key"]), "no longer here")), **_figures(row), key=row["key"])
        for row in found
    }
    if group_by in TIMES:
        return [made[moment] for moment in sorted(made, reverse=True)]
    return sorted(made.values(), key=lambda cost: (cost.amount is None, -(cost.amount or 0), cost.label))


Names = dict[Any, tuple[str, str]]


def _agents(keys: list[UUID], zone: tzinfo) -> Names:
    return {pk: (slug, slug) for pk, slug in Agent.objects.filter(pk__in=keys).values_list("pk", "slug")}


def _teams(keys: list[UUID], zone: tzinfo) -> Names:
    return {pk: (slug, name) for pk, slug, name in Team.objects.filter(pk__in=keys).values_list("pk", "slug", "name")}


def _releases(keys: list[UUID], zone: tzinfo) -> Names:
    found = Release.objects.filter(pk__in=keys).values_list("pk", "agent__slug", "version")
    return {pk: (f"{slug} {version}", f"{slug} {version}") for pk, slug, version in found}


def _words(unnamed: str) -> Callable[[list[str], tzinfo], Names]:
    return lambda keys, zone: {word: (word, word or unnamed) for word in keys}


def _days(keys: list[datetime], zone: tzinfo) -> Names:
    local = {key: key.astimezone(zone) for key in keys}
    return {key: (f"{day:%Y-%m-%d}", f"{day:%a} {day.day} {day:%b %Y}") for key, day in local.items()}


def _hours(keys: list[datetime], zone: tzinfo) -> Names:
    local = {key: key.astimezone(zone) for key in keys}
    return {key: (hour.isoformat(timespec="minutes"), f"{hour.day} {hour:%b, %H:%M}") for key, hour in local.items()}


TIMES = ("day", "hour")
COLUMNS = {"agent": "agent_id", "team": "team_id", "release": "release_id"} | {word: word for word in UNNAMED}
GROUPS: dict[str, Callable[[list[Any], tzinfo], Names]] = {
    "agent": _agents,
    "team": _teams,
    **{word: _words(unnamed) for word, unnamed in UNNAMED.items()},
    "release": _releases,
    "day": _days,
    "hour": _hours,
}


# --- at one glance ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Headline:
    """What is being spent at `now`: the last 60 minutes, today, these 7 days. `latest`: when the last call was made."""

    now: datetime
    hour: Cost
    today: Cost
    week: Cost
    latest: datetime | None


def headline(rows: "QuerySet[LedgerEntry]", *, now: datetime, zone: tzinfo) -> Headline:
    """The figures at the top, in one query over a week of entries."""
    week = periods.named("7d", now=now, zone=zone)
    today = periods.midnight(now.astimezone(zone).date(), zone)
    short = ("amount", "calls", "unpriced_calls")
    found = rows.filter(at__gte=week.since, at__lte=now).aggregate(
        latest=Max("at"),
        **sums(short, Q(at__gt=now - timedelta(hours=1)), "hour_"),
        **sums(short, Q(at__gte=today), "today_"),
        **sums(prefix="week_"),
    )
    hour, day = (Cost(part, part, **_figures(found, f"{part}_", short)) for part in ("hour", "today"))
    return Headline(now, hour, day, Cost("week", week.words, **_figures(found, "week_")), found["latest"])


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Calls of one model that have no price, and why not."""

    provider: str
    model: str
    calls: int
    why: str


def unpriced(rows: "QuerySet[LedgerEntry]") -> list[Unpriced]:
    """What is missing from every sum over these entries, by model, the most calls first."""
    found = (
        rows.filter(kind=Kind.UNPRICED)
        .order_by()
        .values("provider", "model")
        .annotate(calls=Count("id"), why=Min(KeyTextTransform("why", "basis")))
        .order_by("-calls", "provider", "model")
    )
    return [
        Unpriced(row["provider"], row["model"], row["calls"], row["why"] or "No cost was recorded.") for row in found
    ]


def before(rows: "QuerySet[LedgerEntry]", since: datetime, until: datetime) -> Cost:
    """What the equally long time before a stretch cost, to compare with."""
    found = within(rows, since - (until - since), since).aggregate(**sums(("amount", "calls", "unpriced_calls")))
    return Cost("before", "before", **_figures(found, names=("amount", "calls", "unpriced_calls")))


# --- over time --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Series:
    """What one part of a whole cost in each step of a period; None where nothing with a price was spent."""

    label: str
    amounts: list[Decimal | None]


def over_time(
    rows: "QuerySet[LedgerEntry]", period: Period, *, of: str, parts: Sequence[Cost], most: int = 5
) -> list[Series]:
    """How the dearest parts (`parts`, dearest first, grouped by `of`) spread over a period; the rest are one series."""
    shown = list(parts if len(parts) <= most + 1 else parts[:most])
    column = COLUMNS[of]
    of_part = Case(When(**{f"{column}__in": [part.key for part in shown]}, then=F(column)), default=None)
    step = periods.started(period.step, period.zone)
    found = rows.filter(amount__isnull=False).order_by().values(step=step, part=of_part).annotate(spent=Sum("amount"))
    spent = {(row["part"], row["step"]): row["spent"] for row in found}
    lines = [(part.key, part.label) for part in shown]
    if len(shown) < len(parts):
        lines.append((None, f"{len(parts) - len(shown)} others"))
    starts = period.starts()
    drawn = [Series(label, [spent.get((key, start)) for start in starts]) for key, label in lines]
    return [line for line in drawn if any(amount is not None for amount in line.amounts)]


# --- by run -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RunCost:
    """What one run cost within a stretch of time."""

    run: Run
    cost: Cost


def dearest_runs(rows: "QuerySet[LedgerEntry]", *, user: User, most: int = 10) -> list[RunCost]:
    """The runs that cost most, by what these entries charge them."""
    found = (
        rows.filter(amount__isnull=False)
        .order_by()
        .values("run_id")
        .annotate(**sums())
        .order_by(F("sum_amount").desc(), "run_id")[:most]
    )
    charged = {row["run_id"]: Cost(str(row["run_id"]), "", **_figures(row)) for row in found}
    runs = Run.objects.visible_to(user).select_related("agent", "release").in_bulk(list(charged))
    return [RunCost(runs[pk], cost) for pk, cost in charged.items() if pk in runs]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an agent spent, on everything it did, for each run that it completed."""

    agent: str
    cost: Cost
    completed: int
    failed: int

    @property
    def each(self) -> Decimal | None:
        """USD per completed run; None where none was completed or nothing has a price."""
        return self.cost.amount / self.completed if self.completed and self.cost.amount is not None else None


def outcomes(by_agent: Iterable[Cost], *, user: User, since: datetime, until: datetime) -> list[Outcome]:
    """Cost per completed run of the agents of a report; what failed and was cancelled is paid for by what succeeded."""
    ended = (
        AgentMinute.objects.filter(
            agent__in=Agent.objects.visible_to(user),
            minute__gte=since.replace(second=0, microsecond=0),
            minute__lt=until,
        )
        .values("agent__slug")
        .annotate(completed=Sum("runs_completed"), failed=Sum("runs_failed"))
    )
    counts = {row["agent__slug"]: (row["completed"], row["failed"]) for row in ended}
    return [Outcome(cost.group, cost, *counts.get(cost.group, (0, 0))) for cost in by_agent]
