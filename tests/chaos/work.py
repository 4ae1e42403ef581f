"""The work amid which things happen, and the verdict: every run to its end, checked against the tools' own log.

Half of the runs are scripted, half ask a model. Each writes notes (keyed: the other side knows whether it has been
asked before) and posts letters (unkeyed: nobody can tell but the post office, which a person rings up).
"""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q
from uuid_utils.compat import uuid7

from agents.models import Run, User
from approvals.decisions import decide
from approvals.models import Approval
from tests import fleet as fleets
from tests.chaos.ground import calmly
from tests.fleet import Fleet

STAGES = [
    ("world.note", {"text": "{objective}: begun", "seconds": 0.6}),
    ("world.post", {"text": "{objective}: asked", "seconds": 0.6}),
    ("world.note", {"text": "{objective}: noted", "seconds": 0.6}),
    ("world.look", {"text": "{objective}", "seconds": 0.3}),
    ("world.post", {"text": "{objective}: answered", "seconds": 0.6}),
    ("world.note", {"text": "{objective}: ended", "seconds": 0.6}),
]
PLAY = [
    {"tool": "world.note", "arguments": {"text": "{objective}: begun", "seconds": 0.6}},
    {"tool": "world.post", "arguments": {"text": "{objective}: sent", "seconds": 0.6}},
    {"tool": "world.note", "arguments": {"text": "{objective}: ended", "seconds": 0.6}},
    {"say": "Done."},
]
SIMULATED = {"latency_ms": [200, 500], "plays": [{"steps": PLAY}]}
KEYED = {"note"}
ACTS = {"pipeline": 5, "llm": 3}
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Verdict:
    """What became of a cell's runs, and how many seconds it took until all that were driven when it happened had got
    on: a step further, ended, or a person asked."""

    cell: str
    runs: int
    in_flight: int
    lost: int
    keyed_twice: int
    unkeyed_twice: int
    in_doubt: int
    moved_s: float | None
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing happened twice."""
        return (self.lost, self.keyed_twice, self.unkeyed_twice) == (0, 0, 0) and self.moved_s is not None


class Work:
    """The runs of one cell."""

    def __init__(self, fleet: Fleet, number: int, *, olga: User, rhea: User) -> None:
        self.fleet, self.rhea = fleet, rhea
        clerk = fleets.pipeline("clerk", *STAGES)
        writer = fleets.agent("writer", tools=["world.note", "world.post"], simulated=SIMULATED, limits={})
        some = (clerk, writer)
        self.runs = [fleets.start(some[n % 2], f"file {uuid7().hex[-8:]}-{n}", by=olga) for n in range(number)]
        self.ids = [run.pk for run in self.runs]
        self.acts = sum(ACTS[run.release.program] for run in self.runs)

    def driven(self) -> dict[UUID, int]:
        """The runs somebody drives now, and how many steps of each are closed."""
        return dict(self._progress().filter(state="running").values_list("pk", "closed"))

    def _progress(self) -> "Run.objects":  # type: ignore[name-defined]
        closed = Count("steps", filter=Q(steps__state__in=["done", "failed", "refused", "in_doubt"]))
        return Run.objects.filter(pk__in=self.ids).annotate(closed=closed)

    def have_moved(self, before: dict[UUID, int]) -> bool:
        """Whether each of these has got on since."""
        now = self._progress().filter(pk__in=before).values_list("pk", "state", "closed")
        return all(state in Run.ENDED or closed > before[pk] for pk, state, closed in now)

    def answer_questions(self) -> int:
        """Somebody looks up what became of letters in doubt; how many questions there were."""
        questions = Approval.objects.filter(kind=Approval.Kind.IN_DOUBT, run_id__in=self.ids).open()
        for question in questions:
            key = f"{question.run_id}:{question.seq}"
            happened = [act.text for act in self.fleet.world.acts() if act.key == key]
            answer = {"answer": "outcome", "outcome": {"text": happened[0]}} if happened else {"answer": "absent"}
            decide(question, reason="I asked the post office.", by=self.rhea, request_id=uuid7(), **answer)
        return len(questions)

    def finish(self) -> None:
        """Until all runs have ended, or nothing more happens."""
        deadline = time.monotonic() + PATIENCE_S
        live = Run.objects.filter(pk__in=self.ids).live()
        while calmly(live.exists) and time.monotonic() < deadline:
            calmly(self.answer_questions)
            time.sleep(0.2)

    def verdict(self, cell: str, in_flight: int, moved_s: float | None) -> Verdict:
        """Runs against what the outside world saw."""
        acts = [act for act in self.fleet.world.acts() if act.run in {str(pk) for pk in self.ids}]
        keys: dict[tuple[str, str], set[str]] = defaultdict(set)
        for act in acts:
            keys[act.run, act.text].add(act.key)
        letters = Counter(act.key for act in acts if act.what not in KEYED)
        ended = Counter(Run.objects.filter(pk__in=self.ids).values_list("state", "failure"))
        lost = len(self.ids) - ended[("completed", "")]
        missing = self.acts - len(keys)
        return Verdict(
            cell=cell,
            runs=len(self.ids),
            in_flight=in_flight,
            lost=lost or abs(missing),
            keyed_twice=sum(len(asked) > 1 for asked in keys.values()),
            unkeyed_twice=sum(times > 1 for times in letters.values()),
            in_doubt=Approval.objects.filter(kind=Approval.Kind.IN_DOUBT, run_id__in=self.ids).count(),
            moved_s=moved_s,
            why="; ".join(f"{many} {state} {said}".strip() for (state, said), many in ended.items()) if lost else "",
        )


class Watch(threading.Thread):
    """Notes the moment when all runs that were driven at the start have got on."""

    def __init__(self, work: Work) -> None:
        super().__init__(name="watch", daemon=True)
        self.work, self.before, self.moved_s = work, work.driven(), None
        self.began = time.monotonic()

    moved_s: float | None

    def run(self) -> None:
        """Look ten times a second, whatever is away meanwhile."""
        while time.monotonic() - self.began < PATIENCE_S:
            if calmly(lambda: self.work.have_moved(self.before), patience=PATIENCE_S):
                self.moved_s = round(time.monotonic() - self.began, 1)
                break
            time.sleep(0.1)
        connection.close()


def as_json(verdict: Verdict) -> dict[str, object]:
    """A verdict for whoever asked from another process."""
    return asdict(verdict) | {"holds": verdict.holds}
