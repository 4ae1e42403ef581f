"""Taking a run to drive it: the claim, what it is about, and what it has done so far."""

import math
import time
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from agents.contracts import Assignment, Event, Json
from agents.models import Recording, Release
from agents.registry import variables
from agents.runs import hotpath
from agents.runs.keeper import keeper


@dataclass(slots=True)
class Held:
    """A step that is stored but not closed: what a new driver must go on with. `answer` is a contracts.Answer as
    JSON; `is_under_way` when something may be in flight, or may have been when a driver died."""

    state: str
    attempt: int
    answer: Json | None
    is_under_way: bool = False
    due_at: datetime | None = None
    error_class: str = ""
    tier: int | None = None


@dataclass(slots=True)
class Claim:
    """A run in the hands of one driver, with the totals that its limits are measured against."""

    run_id: UUID
    token: int
    asked: str
    deaths: int
    steps_done: int
    agent_id: UUID
    agent: str
    team_id: UUID
    use_case: str
    release_id: UUID
    environment: str
    objective: str
    input: Json
    queue: str
    started_at: datetime
    deadline_at: datetime | None
    tokens_in: int
    tokens_out: int
    cost: Decimal
    tuning: int
    ending: Json | None
    cost_below: Decimal
    program_digest: str
    parent_id: UUID | None
    parent_seq: int | None
    depth: int
    release: "Content"
    frozen: bool = False
    ended: bool = False
    told_at: float = 0.0
    tuned: int = 0
    tuned_until: float = math.inf
    overrides: tuple[Json, ...] = ()
    history: dict[int, Event] = field(default_factory=dict)
    open: dict[int, Held] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The state of a run that is being driven."""
        return "running" if self.ending is None else "compensating"

    @property
    def is_untuned(self) -> bool:
        """Whether its parameters have been changed, or are changed back by now, since `tuning.tune` looked."""
        return self.tuning != self.tuned or time.monotonic() >= self.tuned_until

    def assignment(self) -> Assignment:
        """What the program is told besides history."""
        given = self.input
        if "recording" in given:
            given = recording(UUID(given["recording"]))
        seed = self.run_id.int & 0x7FFFFFFF
        return Assignment(self.run_id, self.objective, given, variables.filled(self.release.bundle), seed)


@dataclass(frozen=True, slots=True)
class Content:
    """A release as drivers need it; immutable, so every process keeps it."""

    version: str
    program: str
    bundle: Json
    limits: Json
    digest: str


@lru_cache(maxsize=512)
def content(release_id: UUID) -> Content:
    """The content of a release, read once per process."""
    columns = Release.objects.values_list("version", "program", "bundle", "digest")
    version, program, bundle, digest = columns.get(pk=release_id)
    limits = {name: limit for name, limit in bundle.get("limits", {}).items() if limit is not None}
    return Content(version, program, bundle, limits, digest)


@lru_cache(maxsize=64)
def recording(recording_id: UUID) -> Json:
    """A recorded run's content, read once while it is replayed."""
    found: Json = Recording.objects.values_list("content", flat=True).get(pk=recording_id)
    return found


RELEASE = 9  # where hotpath.CLAIM returns the release


def take(run_id: UUID) -> Claim | None:
    """Claim a run; None when it is not ready, someone else drives it, or its agent is frozen."""
    row = hotpath.one(hotpath.CLAIM, {"run": run_id, "holder": keeper().name, "lease": hotpath.LEASE_SECONDS})
    if row is None:
        return None
    claim = Claim(*(*row, content(row[RELEASE])))
    if claim.token > 1:  # somebody had it before
        recall(claim)
    return claim


def recall(claim: Claim) -> None:
    """Read what this run has done so far."""
    claim.history.clear()
    claim.open.clear()
    for row in hotpath.rows(hotpath.HISTORY, {"run": claim.run_id}):
        seq, turn, kind, name, state, attempt, call_id, error_class, error, answer, begun, due_at, *payload = row
        _, tier, given, output = payload
        claim.history[seq] = Event(seq, turn, kind, name, state, given, output, error, call_id)
        if state in ("held", "intended", "in_doubt"):
            is_under_way = state == "intended" and begun
            claim.open[seq] = Held(state, attempt, answer, is_under_way, due_at, error_class, tier)
    stored = len(claim.history) - len(claim.open)
    if stored > claim.steps_done:  # the driver before got somewhere: it did not die of this run
        claim.deaths = 0
    claim.steps_done = stored
