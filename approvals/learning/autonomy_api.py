"""The API's doors to earned autonomy: what is proposed, on what evidence, what holds, and the answers of people."""

from typing import Annotated, Any, Self
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Query, Router, Schema
from uuid_utils.compat import uuid7

from agents import errors
from agents.keyset import cut
from agents.models import Agent, Autonomy
from agents.registry import earning
from agents.registry.api import agents_named
from agents.wire import (
    ActorRequest,
    Body,
    Filters,
    Moment,
    Out,
    Page,
    Several,
    Slugs,
    SwitchFilter,
    Words,
    one_of,
)
from approvals.learning import autonomy as autonomies
from approvals.learning import criteria, evidence
from approvals.learning.evidence import Evidence
from approvals.learning.models import Proposal

proposals = Router(tags=["autonomy"])
earned = Router(tags=["autonomy"])
of_agents = Router(tags=["autonomy"])

State = Annotated[Proposal.State, one_of(Proposal.State)]


class ProposalOut(Out):
    """That an agent may use a tool at a milder tier; `evidence` is what it rested on when it was opened or ratified."""

    id: UUID
    agent: str
    tool: str
    before: int
    after: int
    state: State
    evidence: dict[str, Any]
    opened_at: Moment
    closed_at: Moment | None
    closed_by: str | None
    reason: Words
    autonomy: UUID | None

    @classmethod
    def of(cls, row: Proposal) -> Self:
        """From its row, with agent and who closed it."""
        closed_by = row.closed_by.username if row.closed_by else None
        return cls.taken_from(row, agent=row.agent.slug, closed_by=closed_by, autonomy=row.autonomy_id)


class AutonomyOut(Out):
    """A milder tier that was earned: in force until `ended_at`."""

    id: UUID
    agent: str
    tool: str
    was: int
    tier: int
    granted_at: Moment
    granted_by: str
    reason: Words
    ended_at: Moment | None
    ended_by: str | None
    ended_because: Words

    @classmethod
    def of(cls, row: Autonomy) -> Self:
        """From its row."""
        ended_by = row.ended_by.username if row.ended_by else None
        return cls.taken_from(row, agent=row.agent.slug, granted_by=row.granted_by.username, ended_by=ended_by)


class RequirementOut(Out):
    """One criterion of the next milder tier."""

    name: str
    wanted: str
    found: str
    is_met: bool


class EvidenceOut(Out):
    """What an agent has shown with one tool at the tier that holds, against what the next milder one takes."""

    agent: str
    tool: str
    tier: int
    released: int | None
    milder: int | None
    never: Words
    runs: int
    judged: int
    right: int
    undone: int
    violations: int
    days: float
    calibration_error: float | None
    requirements: list[RequirementOut]
    autonomy: UUID | None
    proposal: UUID | None

    @classmethod
    def of(cls, agent: Agent, seen: Evidence) -> Self:
        """As it stands now."""
        held = criteria.current()
        milder = seen.tier - 1 if seen.tier > 1 else None
        required = evidence.requirements(seen, held.of_tier(milder)) if milder else []
        return cls.taken_from(
            seen,
            agent=agent.slug,
            released=earning.released(agent, seen.tool),
            milder=milder,
            never=evidence.floored(seen, mildest=earning.floor(seen.tool), never=held.never),
            judged=seen.judged.of,
            right=seen.judged.right,
            calibration_error=seen.error,
            requirements=[RequirementOut.taken_from(one) for one in required],
            autonomy=earning.in_force(agent).filter(tool=seen.tool).values_list("pk", flat=True).first(),
            proposal=_open(agent, seen.tool),
        )


class ProposalFilters(Filters):
    """Which proposals."""

    state: Annotated[list[State], Several] = []
    agent: Slugs = []


class AutonomyFilters(Filters):
    """Which tiers that were earned."""

    agent: Slugs = []
    in_force: SwitchFilter = None


class OfTool(Schema):
    """One tool, or every tool of the release."""

    tool: str = Field("", max_length=160, description="A tool; all of them when left out.")


class AnswerIn(Body):
    """Why."""

    reason: str = ""
    request_id: UUID | None = None


@proposals.get("", response=Page[ProposalOut], operation_id="list_proposals", summary="Proposals of milder tiers")
def list_proposals(request: ActorRequest, filters: Query[ProposalFilters]) -> Page[ProposalOut]:
    """About agents of your teams, newest first."""
    found = _proposals(request)
    found = found.filter(state__in=filters.state) if filters.state else found
    found = found.filter(agent__in=agents_named(request.actor, filters.agent)) if filters.agent else found
    page = cut(found, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[ProposalOut.of(one) for one in page.rows], next_cursor=page.next_cursor)


@proposals.get("/{proposal_id}", response=ProposalOut, operation_id="get_proposal", summary="One proposal")
def get_proposal(request: ActorRequest, proposal_id: UUID) -> ProposalOut:
    """With the evidence."""
    return ProposalOut.of(_proposal(request, proposal_id))


@proposals.post(
    "/{proposal_id}/ratification", response=ProposalOut, operation_id="ratify_proposal", summary="Ratify a proposal"
)
def ratify_proposal(request: ActorRequest, proposal_id: UUID, body: AnswerIn) -> ProposalOut:
    """The milder tier holds from the agent's next step on."""
    return _answered(request, proposal_id, autonomies.RATIFY, body)


@proposals.post(
    "/{proposal_id}/refusal", response=ProposalOut, operation_id="decline_proposal", summary="Decline a proposal"
)
def decline_proposal(request: ActorRequest, proposal_id: UUID, body: AnswerIn) -> ProposalOut:
    """The tier stays as it is."""
    return _answered(request, proposal_id, autonomies.DECLINE, body)


@earned.get("", response=Page[AutonomyOut], operation_id="list_autonomy", summary="What agents have earned")
def list_autonomy(request: ActorRequest, filters: Query[AutonomyFilters]) -> Page[AutonomyOut]:
    """Milder tiers of agents of your teams, lost ones too, newest first."""
    found = _autonomies(request)
    found = found.filter(agent__in=agents_named(request.actor, filters.agent)) if filters.agent else found
    if filters.in_force is not None:
        found = found.filter(ended_at__isnull=filters.in_force)
    page = cut(found, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[AutonomyOut.of(one) for one in page.rows], next_cursor=page.next_cursor)


@earned.delete("/{autonomy_id}", response=AutonomyOut, operation_id="demote_agent", summary="Take it away")
def demote_agent(request: ActorRequest, autonomy_id: UUID, body: AnswerIn | None = None) -> AutonomyOut:
    """The tier of the release holds from the next step on."""
    said = body or AnswerIn()
    found = _autonomy(request, autonomy_id)
    autonomies.demote(found, by=request.actor, reason=said.reason, request_id=said.request_id or uuid7())
    return AutonomyOut.of(_autonomy(request, autonomy_id))


@of_agents.get(
    "/{slug}/autonomy", response=Page[EvidenceOut], operation_id="list_evidence", summary="What an agent has shown"
)
def list_evidence(request: ActorRequest, slug: str, of: Query[OfTool]) -> Page[EvidenceOut]:
    """Tool by tool, against what the next milder tier takes; whole."""
    shown = Agent.objects.visible_to(request.actor).select_related("release", "team", "owner")
    agent: Agent | None = shown.filter(slug=slug).first()
    if agent is None:
        raise errors.Missing()
    tools = list(agent.release.bundle.get("tools", ())) if agent.release else []
    if of.tool and of.tool not in tools:
        raise errors.Invalid(f"`tool` is {of.tool!r}, which the release of {agent} does not use.", field="tool")
    seen = [evidence.gather(agent, tool) for tool in ([of.tool] if of.tool else tools)]
    return Page(items=[EvidenceOut.of(agent, one) for one in seen if one is not None], next_cursor=None)


def _answered(request: ActorRequest, proposal_id: UUID, answer: str, body: AnswerIn) -> ProposalOut:
    found, request_id = _proposal(request, proposal_id), body.request_id or uuid7()
    autonomies.decide(found, answer=answer, by=request.actor, reason=body.reason, request_id=request_id)
    return ProposalOut.of(_proposal(request, proposal_id))


def _proposals(request: ActorRequest) -> QuerySet[Proposal]:
    found: QuerySet[Proposal] = Proposal.objects.visible_to(request.actor)
    return found.select_related("agent__team", "agent__owner", "agent__release", "closed_by")


def _proposal(request: ActorRequest, proposal_id: UUID) -> Proposal:
    found = _proposals(request).filter(pk=proposal_id).first()
    if found is None:
        raise errors.Missing()
    return found


def _autonomies(request: ActorRequest) -> QuerySet[Autonomy]:
    mine = Agent.objects.visible_to(request.actor).values("pk")
    related = ("agent__team", "agent__owner", "granted_by", "ended_by")
    found: QuerySet[Autonomy] = Autonomy.objects.filter(agent__in=mine).select_related(*related)
    return found


def _autonomy(request: ActorRequest, autonomy_id: UUID) -> Autonomy:
    found = _autonomies(request).filter(pk=autonomy_id).first()
    if found is None:
        raise errors.Missing()
    return found


def _open(agent: Agent, tool: str) -> UUID | None:
    waiting = Proposal.objects.filter(agent=agent, tool=tool, state=Proposal.State.OPEN)
    found: UUID | None = waiting.values_list("pk", flat=True).first()
    return found
