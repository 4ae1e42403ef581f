"""How much of what agents do alone people have looked at, and what they found: figures, and the share itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q

from agents import errors
from agents.audit import log as audit
from agents.models import Agent, Permission, User
from approvals.models import Approval
from approvals.sampling import drawing
from approvals.sampling.models import LEAST, MOST, USUAL, SampleCount, SampleRate
from approvals.sampling.strata import STRATA


@dataclass(frozen=True, slots=True)
class Stratum:
    """Acts of one confidence: how many there were, how many of them went to a person."""

    name: str
    seen: int
    taken: int

    @property
    def share(self) -> float | None:
        """What part was taken; None where nothing was done."""
        return self.taken / self.seen if self.seen else None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one agent did alone with one tool: the share that is to be looked at, and what came of looking."""

    agent: Agent
    tool: str
    percent: int
    strata: tuple[Stratum, ...]
    right: int
    wrong: int
    waiting: int

    @property
    def seen(self) -> int:
        """Acts in all strata."""
        return sum(one.seen for one in self.strata)

    @property
    def taken(self) -> int:
        """Samples in all strata."""
        return sum(one.taken for one in self.strata)

    @property
    def share(self) -> float | None:
        """What part was taken; None where nothing was done."""
        return self.taken / self.seen if self.seen else None

    @property
    def looked_at(self) -> float | None:
        """What part of the samples somebody has judged."""
        return (self.right + self.wrong) / self.taken if self.taken else None


def of(user: User) -> list[Coverage]:
    """Every agent and tool with acts of tier 2 that this person may see, by agent and tool."""
    agents = {one.pk: one for one in Agent.objects.visible_to(user).select_related("team")}
    counted: dict[tuple[UUID, str], dict[str, SampleCount]] = {}
    for count in SampleCount.objects.filter(agent__in=agents):
        counted.setdefault((count.agent_id, count.tool), {})[count.stratum] = count
    found, percents = _judged(agents), drawing.rates(set(counted))
    rows = []
    for (agent_id, tool), by_stratum in counted.items():
        strata = tuple(Stratum(one, *_of(by_stratum.get(one))) for one in STRATA if one in by_stratum)
        right, wrong, waiting = found.get((agent_id, tool), (0, 0, 0))
        percent = percents.get((agent_id, tool), USUAL)
        rows.append(Coverage(agents[agent_id], tool, percent, strata, right, wrong, waiting))
    return sorted(rows, key=lambda row: (row.agent.slug, row.tool))


def _of(count: SampleCount | None) -> tuple[int, int]:
    return (count.seen, count.taken) if count else (0, 0)


def _judged(agents: Iterable[UUID]) -> dict[tuple[UUID, str], tuple[int, int, int]]:
    """Samples found right, found wrong, and waiting."""
    state = Approval.State
    samples = Approval.objects.filter(kind=Approval.Kind.SAMPLE, agent__in=agents).values("agent_id", "tool").order_by()
    rows = samples.annotate(
        right=Count("pk", filter=Q(state=state.APPROVED)),
        wrong=Count("pk", filter=Q(state=state.REJECTED)),
        waiting=Count("pk", filter=Q(state=state.OPEN)),
    )
    return {(row["agent_id"], row["tool"]): (row["right"], row["wrong"], row["waiting"]) for row in rows}


def set_rate(agent: Agent, tool: str, percent: int | str, *, by: User, reason: str, request_id: UUID) -> SampleRate:
    """Say what share of this agent's acts with this tool is looked at. The same request id is one act."""
    if not by.may(Permission.PUBLISH, agent.team_id):
        why = f"You may not set how much of {agent} is looked at; that takes the role governance in {agent.team}."
        audit.refuse("sample.rate", about=agent, by=by, because=why, request_id=request_id)
    if not str(percent).isdecimal() or not LEAST <= (share := int(percent)) <= MOST:
        raise errors.Invalid(f"The share is {percent} %; it can be from {LEAST} to {MOST}.", field="percent")
    if tool not in (known := _tools(agent)):
        told = f"it has {', '.join(known)}" if known else "it has none"
        raise errors.Invalid(f"{agent} has no tool called {tool!r}; {told}.", field="tool")
    if not reason.strip():
        raise errors.Invalid("Say why; the next person will ask.", field="reason")
    return _set(agent, tool, share, by=by, reason=reason.strip(), request_id=request_id)


def _tools(agent: Agent) -> list[str]:
    """The tools that an agent has, and those that it has used before."""
    bundle = agent.release.bundle if agent.release else {}
    elsewhere = (f"{agent.slug}.{name}" for name in bundle.get("outside", {}))
    used = SampleCount.objects.filter(agent=agent).values_list("tool", flat=True)
    return sorted({*bundle.get("tools", ()), *elsewhere, *used})


@transaction.atomic
def _set(agent: Agent, tool: str, percent: int, *, by: User, reason: str, request_id: UUID) -> SampleRate:
    Agent.objects.select_for_update(of=("self",), no_key=True).only("pk").get(pk=agent.pk)
    if found := SampleRate.objects.filter(request_id=request_id).first():
        if (found.agent_id, found.tool, found.percent) != (agent.pk, tool, percent):
            raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
        return found
    before = drawing.rates({(agent.pk, tool)}).get((agent.pk, tool), USUAL)
    made: SampleRate = SampleRate.objects.create(
        agent=agent, tool=tool, percent=percent, by=by, reason=reason, request_id=request_id
    )
    audit.record(
        "sample.rate", about=agent, by=by, reason=reason, request_id=request_id, tool=tool, before=before, after=percent
    )
    return made
