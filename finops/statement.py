"""A statement of costs: what was asked for in an address, and everything the page shows in answer.

Apart from `reports` because the page, its live fragment and its downloads must never differ: each of them reads the
address with `Question.read` and shows what `draw_up` makes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal
from urllib.parse import urlencode

from django.urls import reverse

from agents import errors
from agents.contracts import Json
from agents.models import Agent, User
from finops import charts, periods, reports
from finops.periods import NAMED, Period
from finops.reports import Cost, Headline, Outcome, RunCost, Unpriced

MOST_LINES = 100
SHORTEST_BAR = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that asks something else."""

    href: str
    word: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What an address asks: which period, put together how, narrowed to what."""

    group_by: str
    period: Period
    filters: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, asked: Mapping[str, str], *, now: datetime, zone: tzinfo) -> "Question":
        """From the parameters of an address; a value that makes no sense is refused with what would."""
        group_by = asked.get("group_by") or "agent"
        if group_by not in reports.GROUPS:
            raise errors.Invalid(
                f"`group_by` cannot be {group_by!r}; it can be {', '.join(reports.GROUPS)}.", field="group_by"
            )
        if asked.get("from"):
            period = periods.between(asked["from"], asked.get("to", ""), now=now, zone=zone)
        else:
            period = periods.named(asked.get("range") or periods.USUAL, now=now, zone=zone)
        return cls(group_by, period, {name: asked[name] for name in reports.FILTERS if asked.get(name)})

    @property
    def word(self) -> str:
        """What it is put together by, in words."""
        return self.group_by.replace("_", " ")

    @property
    def is_by_time(self) -> bool:
        """Whether its lines are days or hours, which stand in their own order."""
        return self.group_by in reports.TIMES

    @property
    def is_whole(self) -> bool:
        """Whether it is about everything an agent spent, so that it can be set against the runs it completed."""
        return self.filters.keys() <= {"agent", "team"}

    @property
    def periods(self) -> list[Choice]:
        """The periods on offer."""
        return [Choice(self.address(range=name), words, name == self.period.name) for name, words in NAMED.items()]

    @property
    def groupings(self) -> list[Choice]:
        """The ways to put it together."""
        return [
            Choice(self.address(group_by=name), name.replace("_", " "), name == self.group_by)
            for name in reports.GROUPS
        ]

    @property
    def narrowings(self) -> list[Choice]:
        """The filters in force, each with the address without it."""
        return [
            Choice(self.address(**{name: ""}), f"{name.replace('_', ' ')}: {value}", True)
            for name, value in self.filters.items()
        ]

    @property
    def kept(self) -> dict[str, str]:
        """What stays when other days are chosen."""
        return {"group_by": self.group_by, **self.filters}

    def address(self, **changes: str) -> str:
        """The address that asks this, with some parameters changed; an empty one is left out."""
        days = {} if self.period.name else self.period.days
        asked = {"group_by": self.group_by, "range": self.period.name, **days, **self.filters, **changes}
        if changes.get("range"):
            asked |= {"from": "", "to": ""}
        return f"?{urlencode({name: value for name, value in asked.items() if value})}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `bar` is its length in percent of the whole, `narrow` the address of it alone."""

    cost: Cost
    share: Decimal | None
    bar: Decimal | None
    narrow: str = ""
    runs: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything the page shows."""

    question: Question
    now: datetime
    headline: Headline
    lines: list[Line]
    total: Cost
    before: Cost
    outcomes: list[Outcome]
    runs: list[RunCost]
    unpriced: list[Unpriced]
    figure: Json
    caption: str
    elsewhere: Choice | None
    """Where there is something to see, when here is nothing; None when nothing was ever booked."""

    @property
    def rise(self) -> Decimal | None:
        """How much more was spent than in the equally long time before, as a share of it; None where unknown."""
        now, before = self.total.spent, self.before.amount
        return (now - before) / before if now is not None and before else None

    @property
    def fall(self) -> Decimal | None:
        """The same, for a sentence that says "less"."""
        return None if self.rise is None else -self.rise

    @property
    def times(self) -> int | None:
        """How many times as much: people read "9 times", not "800 % more"."""
        return round(self.rise + 1) if self.rise is not None and self.rise >= 2 else None


def draw_up(question: Question, *, user: User, now: datetime) -> Statement:
    """Answer a question with what a person may see."""
    period, by = question.period, question.group_by
    seen = reports.entries(user, question.filters)
    rows = reports.within(seen, period.since, period.until)
    groups = grouped(question, by, user)
    of = "agent" if by in reports.TIMES else by
    parts = groups if of == by else grouped(question, of, user)
    agents = parts if of == "agent" else grouped(question, "agent", user)
    return Statement(
        question=question,
        now=now,
        headline=top(question, user=user, now=now),
        lines=lines(question, groups),
        total=reports.total(groups),
        before=reports.before(seen, period.since, period.until),
        outcomes=reports.outcomes(agents[:MOST_LINES], user=user, since=period.since, until=period.until),
        runs=reports.dearest_runs(rows, user=user),
        unpriced=reports.unpriced(rows),
        figure=charts.spending(period, reports.over_time(rows, period, of=of, parts=parts)),
        caption=charts.caption(period, of),
        elsewhere=None if groups else _elsewhere(question, user),
    )


def _elsewhere(question: Question, user: User) -> Choice | None:
    """All of what a person may see, without the filters and the period that hide it."""
    extent = reports.extent(user)
    if extent is None:
        return None
    first, last = (f"{moment.astimezone(question.period.zone):%Y-%m-%d}" for moment in extent)
    everything = periods.between(first, last, now=extent[1], zone=question.period.zone)
    return Choice(Question(question.group_by, everything).address(), everything.words, False)


def top(question: Question, *, user: User, now: datetime) -> Headline:
    """The figures at the top alone."""
    return reports.headline(reports.entries(user, question.filters), now=now, zone=question.period.zone)


@dataclass(frozen=True, slots=True)
class AgentPanel:
    """What one agent costs: now, these seven days, day by day, and for each run it completed."""

    headline: Headline
    outcome: Outcome
    bars: list[tuple[int, int]]
    address: str


def of_agent(agent: Agent, *, user: User, now: datetime, zone: tzinfo) -> AgentPanel:
    """The panel that an agent's page borrows."""
    week = periods.named("7d", now=now, zone=zone)
    question = Question("model", week, {"agent": agent.slug})
    spent = grouped(question, "agent", user)
    outcome = reports.outcomes(spent or [Cost(agent.slug, agent.slug)], user=user, since=week.since, until=now)[0]
    rows = reports.within(reports.entries(user, question.filters), week.since, week.until)
    days = reports.over_time(rows, week, of="agent", parts=spent)
    bars = charts.small_bars(days[0].amounts if days else [])
    return AgentPanel(top(question, user=user, now=now), outcome, bars, question.address())


def grouped(question: Question, by: str, user: User) -> list[Cost]:
    """The costs a question asks for, by one of the groups."""
    period = question.period
    return reports.costs(
        by, user=user, since=period.since, until=period.until, zone=period.zone, filters=question.filters
    )


def lines(question: Question, groups: list[Cost]) -> list[Line]:
    """The table: the dearest groups, and the rest in one line, so that it adds up however many there are."""
    shown = groups if len(groups) <= MOST_LINES else groups[: MOST_LINES - 1]
    whole = reports.total(groups).amount
    made = [_line(question, cost, whole) for cost in shown]
    if len(shown) < len(groups):
        rest = reports.total(groups[len(shown) :], label=f"{len(groups) - len(shown)} others")
        made.append(_line(question, rest, whole))
    return made


def _line(question: Question, cost: Cost, whole: Decimal | None) -> Line:
    share = cost.amount / whole if whole and cost.amount is not None else None
    bar = None if share is None else max(round(share * 100, 2), SHORTEST_BAR if cost.amount else Decimal(0))
    return Line(cost, share, bar, _narrowed(question, cost), _runs(question, cost))


def _narrowed(question: Question, cost: Cost) -> str:
    """The same page about one line alone, put together by what is then most telling."""
    by = question.group_by
    if by == "day" and cost.group:
        return question.address(**{"from": cost.group, "to": cost.group, "range": "", "group_by": "agent"})
    if by not in reports.FILTERS or not cost.group:
        return ""
    return question.address(**{by: cost.group, "group_by": "model" if by != "model" else "agent"})


def _runs(question: Question, cost: Cost) -> str:
    """The list of the runs behind a line, where the list can tell them apart."""
    agent = cost.group.split(" ")[0] if question.group_by in {"agent", "release"} else question.filters.get("agent")
    if not agent:
        return ""
    since = f" since:{question.period.name}" if question.period.name else ""
    return f"{reverse('agents:runs')}?{urlencode({'q': f'agent:{agent}{since}'})}"
