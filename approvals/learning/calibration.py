"""How sure an agent says it is, against how right it was: per agent, and per agent and action class (its tool).

Counted by the database in hundredths of confidence, so that a page costs the same after a million decisions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, DecimalField, Q, Sum
from django.db.models.functions import Cast, Floor
from django.utils import timezone

from approvals.learning import criteria, outcomes, statistics
from approvals.learning.statistics import Bin, Cell, Share
from approvals.models import Approval, ApprovalQuerySet

EXACTLY = DecimalField(max_digits=16, decimal_places=12)
SIMILAR_FOR = timedelta(days=30)
LATEST = 2000
"""So many decisions tell enough beside a question, which must open at once whatever lies behind it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """One agent, with one tool or (tool empty) with all of them. `silent` are the acts of which nobody said how sure
    they were; they are in `judged` and in nothing else."""

    tool: str
    cells: Sequence[Cell]
    silent: Share

    @property
    def judged(self) -> Share:
        """All acts that somebody judged."""
        said = statistics.total(self.cells)
        return Share(said.right + self.silent.right, said.of + self.silent.of)

    @property
    def said(self) -> Share:
        """Those with a confidence."""
        return statistics.total(self.cells)

    @property
    def error(self) -> float | None:
        """The expected calibration error."""
        return statistics.calibration_error(self.cells)

    @property
    def bins(self) -> Sequence[Bin]:
        """The tenths in which anything was said."""
        return statistics.bins(self.cells)


def since(at: datetime) -> datetime:
    """From when on decisions count."""
    return at - timedelta(days=criteria.current().calibration.days)


def of_agents(agents: Sequence[UUID], *, since: datetime) -> Mapping[UUID, list[Calibration]]:
    """For each agent its action classes, by name; those that nobody judged are not there."""
    found = outcomes.judged(Approval.objects.filter(agent__in=agents, decided_at__gte=since))
    told: dict[UUID, dict[str, list[tuple[Cell | None, Share]]]] = {}
    for agent, tool, cell, share in _counted(found):
        told.setdefault(agent, {}).setdefault(tool, []).append((cell, share))
    return {agent: [_calibration(tool, rows) for tool, rows in sorted(tools.items())] for agent, tools in told.items()}


def of(agent_id: UUID, *, tool: str = "", since: datetime, latest: int | None = None) -> Calibration:
    """One agent with one tool, or with all of them; of its `latest` decisions alone, where that is said."""
    found = Approval.objects.filter(agent=agent_id, decided_at__gte=since)
    found = found.filter(tool=tool) if tool else found
    if latest is not None:
        found = found.filter(pk__in=found.order_by("-decided_at").values("pk")[:latest])
    return _calibration(tool, [(cell, share) for _, _, cell, share in _counted(outcomes.judged(found))])


def one_of(known: Iterable[Calibration], tool: str) -> Calibration:
    """That of one tool; of one that nobody judged, nothing."""
    return next((one for one in known if one.tool == tool), _calibration(tool, []))


def together(known: Iterable[Calibration]) -> Calibration:
    """Several tools as if they were one."""
    tools = list(known)
    rows: list[tuple[Cell | None, Share]] = [(cell, Share(cell.right, cell.of)) for one in tools for cell in one.cells]
    return _calibration("", [*rows, *((None, one.silent) for one in tools)])


def _counted(found: ApprovalQuerySet) -> list[tuple[UUID, str, Cell | None, Share]]:
    """Agent, tool, cell (None: nobody said how sure) and how many of how many right."""
    place = Floor(Cast("confidence", EXACTLY) * statistics.CELLS)
    rows = found.annotate(place=place).values("agent_id", "tool", "place").order_by("agent_id", "tool", "place")
    counted = rows.annotate(of=Count("pk"), right=Count("pk", filter=outcomes.RIGHTLY), said=Sum("confidence"))
    return [
        (
            row["agent_id"],
            row["tool"],
            None if row["place"] is None else Cell(int(row["place"]), row["of"], row["right"], row["said"]),
            Share(row["right"], row["of"]),
        )
        for row in counted
    ]


def _calibration(tool: str, rows: Sequence[tuple[Cell | None, Share]]) -> Calibration:
    """Cells of several tools at one place are one cell."""
    places: dict[int, Cell] = {}
    for cell, _ in rows:
        if cell is not None:
            known = places.get(cell.place, Cell(cell.place, 0, 0, 0.0))
            places[cell.place] = Cell(cell.place, known.of + cell.of, known.right + cell.right, known.said + cell.said)
    silent = [share for cell, share in rows if cell is None]
    return Calibration(
        tool,
        [places[place] for place in sorted(places)],
        Share(sum(one.right for one in silent), sum(one.of for one in silent)),
    )


# --- beside a question ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Similar:
    """What became of the same agent's questions about the same tool lately."""

    approved: int
    edited: int
    rejected: int

    def __bool__(self) -> bool:
        return bool(self.approved or self.edited or self.rejected)


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What speaks for and against believing an agent this time: how often it was right when it was about as sure (None:
    it never was), in how many cases, and what was decided lately."""

    right: float | None = None
    sample: int | None = None
    similar: Similar = Similar(0, 0, 0)


def track_record(approval: Approval) -> TrackRecord:
    """How right the agent was when it was as sure as now, with this tool; and what was decided about it lately."""
    if approval.kind not in outcomes.JUDGING:
        return TrackRecord()
    now, like = timezone.now(), None
    if approval.confidence is not None:
        known = of(approval.agent_id, tool=approval.tool, since=since(now), latest=LATEST)
        like = statistics.bin_of(approval.confidence, known.cells)
    lately = Approval.objects.filter(
        agent=approval.agent_id, tool=approval.tool, kind=approval.kind, decided_at__gte=now - SIMILAR_FOR
    )
    counted = {name: Count("pk", filter=Q(state=name)) for name in ("approved", "edited", "rejected")}
    similar = Similar(**lately.filter(plant=None).exclude(pk=approval.pk).aggregate(**counted))
    return TrackRecord(like.share.value, like.share.of, similar) if like else TrackRecord(similar=similar)
