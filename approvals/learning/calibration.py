"""How sure an agent says it is, against how right it was: per agent, and per agent and action class (its tool).

Counted by the database in hundredths of confidence, so that a page costs the same after a million decisions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, DecimalField, Q, Sum
from django.db.models.functions import Cast, Floor
from django.utils import timezone

from approvals.learning import criteria, outcomes, statistics, undone
from approvals.learning.outcomes import Outcomes
from approvals.learning.statistics import Bin, Cell, Share
from approvals.learning.undone import Undone
from approvals.models import Approval, ApprovalQuerySet

EXACTLY = DecimalField(max_digits=16, decimal_places=12)
SIMILAR_FOR = timedelta(days=30)
LATEST = 2000
"""So many decisions tell enough beside a question, which must open at once whatever lies behind it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """One agent, with one tool or (tool empty) with all of them. `silent` are the acts of which nobody said how sure
    they were; they are in `judged` and in nothing else. `outcomes` say what came of each."""

    tool: str
    cells: Sequence[Cell]
    silent: Share
    outcomes: Outcomes

    @property
    def judged(self) -> Share:
        """All acts of which it is known whether they were right."""
        return self.outcomes.share

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
    """For each agent its action classes, by name; those of which nothing is known are not there."""
    found = outcomes.judged(Approval.objects.filter(agent__in=agents, decided_at__gte=since))
    told: dict[UUID, dict[str, list[Calibration]]] = {}
    for agent, one in [*_counted(found), *_undone(undone.find(agents, since=since))]:
        told.setdefault(agent, {}).setdefault(one.tool, []).append(one)
    return {agent: [together(rows, tool) for tool, rows in sorted(tools.items())] for agent, tools in told.items()}


def of(
    agent_id: UUID, *, tool: str = "", since: datetime, latest: int | None = None, drawn: bool = False
) -> Calibration:
    """One agent with one tool, or with all of them; of its `latest` decisions alone, where that is said. Of what was
    taken back unjudged only what was `drawn` to be looked at, where that is said: a fair share of it."""
    found = Approval.objects.filter(agent=agent_id, decided_at__gte=since)
    found = found.filter(tool=tool) if tool else found
    if latest is not None:
        found = found.filter(pk__in=found.order_by("-decided_at").values("pk")[:latest])
    acts = undone.find([agent_id], tool=tool, since=since, latest=latest)
    rows = [*_counted(outcomes.judged(found)), *_undone(one for one in acts if one.drawn or not drawn)]
    return together([one for _, one in rows], tool)


def one_of(known: Iterable[Calibration], tool: str) -> Calibration:
    """That of one tool; of one of which nothing is known, an empty one."""
    return next((one for one in known if one.tool == tool), together([], tool))


def together(known: Iterable[Calibration], tool: str = "") -> Calibration:
    """Several as if they were one: cells at one place are one cell."""
    places: dict[int, Cell] = {}
    silent, counted = Share(0, 0), Outcomes()
    for one in known:
        silent = Share(silent.right + one.silent.right, silent.of + one.silent.of)
        counted += one.outcomes
        for cell in one.cells:
            before = places.get(cell.place, Cell(cell.place, 0, 0, 0.0))
            right, said = before.right + cell.right, before.said + cell.said
            places[cell.place] = Cell(cell.place, before.of + cell.of, right, said)
    return Calibration(tool, [places[place] for place in sorted(places)], silent, counted)


def _counted(found: ApprovalQuerySet) -> Iterator[tuple[UUID, Calibration]]:
    """By agent, tool, hundredth (None: nobody said how sure) and what they came to."""
    place = Floor(Cast("confidence", EXACTLY) * statistics.CELLS)
    rows = found.annotate(place=place).values("agent_id", "tool", "place", "came_to")
    for row in rows.order_by("agent_id", "tool", "place").annotate(of=Count("pk"), said=Sum("confidence")):
        counts = Outcomes(**{row["came_to"]: row["of"]})
        yield row["agent_id"], _part(row["tool"], row["place"], row["said"], counts)


def _undone(found: Iterable[Undone]) -> Iterator[tuple[UUID, Calibration]]:
    """What was taken back though nobody had judged it was corrected later, as what somebody found wrong was."""
    for one in found:
        yield one.agent, _part(one.tool, one.place, one.said, Outcomes(corrected=one.of, undone=one.of))


def _part(tool: str, place: int | None, said: float | None, counts: Outcomes) -> Calibration:
    """Acts of one tool with one confidence."""
    share = counts.share
    if place is None:
        return Calibration(tool, (), share, counts)
    return Calibration(tool, [Cell(int(place), share.of, share.right, said or 0.0)], Share(0, 0), counts)


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
