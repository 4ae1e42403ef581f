"""How the fleet is: what runs now, what was done lately, who is alive. Read by the fleet page and by the API.

Unfinished runs are counted from a small partial index; everything about the past comes from minute rollups, never from
steps, so that the cost of looking does not grow with the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, Max, Min, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from agents.models import RUN_BOUNDS, Agent, AgentMinute, Run, Step, StepAttempt, User, Worker
from agents.registry.bundles import OUTSIDE

ALIVE_S = 15.0
"""A process that has shown no sign of life for this long is not counted on: its runs have moved to others."""
REMEMBERED_S = 600.0
"""A silent process is still listed for this long, so that its death can be seen."""

GOOD, FAIR = 0.98, 0.90
"""Shares of ended runs that completed: good from the first, failing below the second."""
SUSPECT_RUNS = 5
"""So many runs must have ended before their share says anything."""

UNFINISHED = tuple(state for state in Run.State if state not in Run.ENDED)
_BUCKETS = range(len(RUN_BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Recent:
    """What was done in a stretch of time. `run_seconds` counts ended runs by how long they took (`RUN_BOUNDS`)."""

    runs_completed: int = 0
    runs_failed: int = 0
    runs_cancelled: int = 0
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    step_errors: int = 0
    refusals: int = 0
    holds: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    confidence_sum: float = 0.0
    confidence_count: int = 0
    run_seconds: tuple[int, ...] = (0,) * len(_BUCKETS)
    last_minute: datetime | None = None
    is_elsewhere: bool = False

    @property
    def known_cost(self) -> Decimal | None:
        """The cost of what has a price; None when nothing has, since unpriced is not free, or where it was spent
        elsewhere and nobody told."""
        return None if (self.unpriced or self.is_elsewhere) and not self.cost else self.cost

    @property
    def is_untold(self) -> bool:
        """Whether models were asked, here or elsewhere, and not one said how many tokens that took."""
        return bool(self.model_calls or self.is_elsewhere) and not (self.tokens_in or self.tokens_out)

    @property
    def success(self) -> float | None:
        """The share of ended runs that completed; None without any. A cancelled run is nobody's failure."""
        ended = self.runs_completed + self.runs_failed
        return self.runs_completed / ended if ended else None

    @property
    def is_failing(self) -> bool:
        """Whether enough runs have ended to say that too many of them failed."""
        ended = self.runs_completed + self.runs_failed
        return ended >= SUSPECT_RUNS and (self.success or 0) < FAIR

    @property
    def confidence(self) -> float | None:
        """The mean of what had a confidence."""
        return self.confidence_sum / self.confidence_count if self.confidence_count else None

    @property
    def is_just_now(self) -> bool:
        """Whether the last work was in this minute or the one before: rollups know nothing finer."""
        return self.last_minute is not None and timezone.now() - self.last_minute < timedelta(minutes=2)

    def run_quantile(self, share: float) -> float | None:
        """How long that share of the ended runs took at most, in seconds; None without runs or past the last bound."""
        total = sum(self.run_seconds)
        for bound, below in zip(RUN_BOUNDS, accumulate(self.run_seconds), strict=False):
            if total and below >= share * total:
                return bound
        return None


NOTHING = Recent()
_SUMS = [field.name for field in fields(Recent) if field.name not in ("run_seconds", "last_minute", "is_elsewhere")]


SESSION = "session"
"""Counted apart from states: sessions of agents that run elsewhere, in which nobody here has anything to do."""


def unfinished_by_agent(user: User, *, agents: Iterable[UUID] | None = None) -> dict[UUID, dict[str, int]]:
    """Runs that have not ended, counted now: for each agent that has some, how many in which state."""
    shown = Case(When(waits=Run.Waits.OUTSIDE, then=Value(SESSION)), default=F("state"))
    live = Run.objects.visible_to(user).live().annotate(shown=shown)
    counts: dict[UUID, dict[str, int]] = {}
    for agent_id, state, count in _of(live, agents).values_list("agent_id", "shown").annotate(Count("pk")).order_by():
        counts.setdefault(agent_id, {})[state] = count
    return counts


PEOPLE = frozenset({Run.Waits.APPROVAL, Run.Waits.DOUBT, Run.Waits.DECISION})
"""What only a person can end."""
TIME = frozenset({Run.Waits.TIMER, Run.Waits.RETRY, Run.Waits.WINDOW})
"""What ends by itself at a moment that is known."""


_LAST_TRY = StepAttempt.objects.filter(run=OuterRef("run"), seq=OuterRef("seq")).order_by("-number")
_WANTED = Greatest("created_at", Subquery(_LAST_TRY.values("finished_at")[:1]))
_NO_ROOM = Step.objects.filter(run=OuterRef("pk"), state=Step.State.INTENDED, due_at__isnull=False).order_by("seq")
ROOM_SINCE = Coalesce(Subquery(_NO_ROOM.annotate(since=_WANTED).values("since")[:1]), "changed_at")
"""Since when a run that waits for capacity does: since its step was first wanted, or the last try at it came to
nothing. It looks for room every second or so, and `changed_at` is when it last did."""
WAITING_SINCE = Case(
    When(state=Run.State.WAITING, waits=Run.Waits.CAPACITY, then=ROOM_SINCE),
    When(state=Run.State.WAITING, then=F("changed_at")),
    default=None,
)
"""Since when a run waits, whatever for; None where it does not."""


def waiting(user: User, *, agents: Iterable[UUID] | None = None) -> dict[str, tuple[int, datetime]]:
    """Waiting runs by what they wait for: how many, and since when the one that has waited longest."""
    rows = _of(Run.objects.visible_to(user).filter(state=Run.State.WAITING), agents)
    counted = rows.annotate(since=WAITING_SINCE).values_list("waits").annotate(Count("pk"), Min("since")).order_by()
    return {waits: (count, since) for waits, count, since in counted}


def lost_by_agent(user: User, *, agents: Iterable[UUID] | None = None) -> dict[UUID, int]:
    """Runs that say they run while their driver shows no sign of life any more, by agent."""
    silent = Run.objects.visible_to(user).filter(state__in=Run.DRIVEN, lease_until__lt=timezone.now())
    rows = _of(silent, agents).values_list("agent_id").annotate(Count("pk"))
    return dict(rows.order_by())


def status(
    open_runs: dict[str, int], recent: Recent, *, lost: int = 0, frozen_by: str = "", is_published: bool = True
) -> tuple[str, str]:
    """How an agent is, as hue and word, from evidence: never *working* where nobody shows a sign of life."""
    waiting, queued, paused = (
        open_runs.get(state, 0) for state in (Run.State.WAITING, Run.State.QUEUED, Run.State.PAUSED)
    )
    running = sum(open_runs.get(state, 0) for state in Run.DRIVEN)
    found = [
        (bool(frozen_by), "still", f"frozen by {frozen_by}"),
        (bool(lost) and lost >= running, "bad", "unresponsive"),
        (recent.is_failing, "bad", "failing"),
        (bool(lost), "warn", f"{lost} unresponsive"),
        (bool(waiting), "wait", f"{waiting} waiting"),
        (bool(running), "busy", "working"),
        (bool(queued), "busy", f"{queued} queued"),
        (bool(paused), "still", f"{paused} paused"),
        (bool(open_runs.get(SESSION)), "ok", "in session elsewhere"),
        (not is_published, "still", "not published"),
        (bool(recent.steps), "ok", "ready"),
    ]
    return next(((hue, word) for holds, hue, word in found if holds), ("still", "no work in 24 h"))


def recent_by_agent(user: User, since: datetime, *, agents: Iterable[UUID] | None = None) -> dict[UUID, Recent]:
    """What each agent has done since then, for those that did anything; a minute counts from its start."""
    visible = Agent.objects.visible_to(user)
    minutes = _of(AgentMinute.objects.filter(minute__gte=since, agent__in=visible), agents)
    totals: dict[str, Any] = {name: Sum(name) for name in _SUMS}
    totals |= {f"bucket_{place}": Sum(f"run_seconds__{place}") for place in _BUCKETS}
    totals = {f"sum_{name}": total for name, total in totals.items()}
    rows = minutes.values("agent_id").annotate(last=Max("minute"), **totals)
    return {row["agent_id"]: _recent(row) for row in rows.order_by()}


def of_agent(agent: Agent, recent: Recent | None) -> Recent:
    """What one agent has done: of one that runs elsewhere, what it spent is known there."""
    found = recent or NOTHING
    is_elsewhere = agent.release is not None and agent.release.program == OUTSIDE
    return replace(found, is_elsewhere=True) if is_elsewhere else found


def together(several: Iterable[Recent]) -> Recent:
    """Several agents as one."""
    rows = list(several)
    sums = {name: sum((getattr(row, name) for row in rows), start=getattr(NOTHING, name)) for name in _SUMS}
    buckets = tuple(sum(row.run_seconds[place] for row in rows) for place in _BUCKETS)
    last = max((row.last_minute for row in rows if row.last_minute), default=None)
    return Recent(**sums, run_seconds=buckets, last_minute=last)


@dataclass(frozen=True, slots=True)
class Sign:
    """A process and how long ago it last showed a sign of life, in seconds."""

    worker: Worker
    age_s: float

    @property
    def is_alive(self) -> bool:
        """Whether the sign is fresh enough to count on the process."""
        return self.age_s < ALIVE_S


def workers() -> list[Sign]:
    """Every process seen lately, by name; one that died stays for a while, so that its death can be seen."""
    now = timezone.now()
    seen = Worker.objects.filter(seen_at__gt=now - timedelta(seconds=REMEMBERED_S)).order_by("kind", "name")
    return [Sign(worker, round(max((now - worker.seen_at).total_seconds(), 0.0), 1)) for worker in seen]


def _of(rows: QuerySet[Any], agents: Iterable[UUID] | None) -> QuerySet[Any]:
    return rows if agents is None else rows.filter(agent__in=list(agents))


def _recent(row: dict[str, Any]) -> Recent:
    sums = {name: row[f"sum_{name}"] for name in _SUMS}
    return Recent(**sums, run_seconds=tuple(row[f"sum_bucket_{place}"] for place in _BUCKETS), last_minute=row["last"])
