"""The API's doors for agents that run elsewhere: may this call go ahead? How a held one
stands is told by the shell, which hears when that changes."""

from typing import Annotated, Any, Self
from uuid import UUID

from ninja import Router
from pydantic import ConfigDict, Field
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, Permission, Run, User
from agents.wire import ActorRequest, Body, Moment, Out, Words, one_of
from approvals.models import Approval
from approvals.outside import gating, rulings
from approvals.outside.calls import Call
from approvals.outside.models import OutsideCall
from approvals.outside.rulings import Ruling

router = Router(tags=["gate"])

Verdict = Annotated[OutsideCall.Verdict, one_of(OutsideCall.Verdict)]
State = Annotated[Approval.State, one_of(Approval.State)]


class ContextIn(Body):
    """What the agent says around a call. Fields of your own are for policies to use and for people to read."""

    model_config = ConfigDict(extra="allow")

    session: Annotated[str, Field(max_length=120)] = ""
    objective: Annotated[str, Field(max_length=2000)] = ""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


class GateIn(Body):
    """A call that an agent wants to make."""

    agent: str
    tool: Annotated[str, Field(min_length=1, max_length=120)]
    arguments: dict[str, Any] = {}
    context: ContextIn = ContextIn()
    approval: UUID | None = None
    request_id: UUID | None = None

    def call(self) -> Call:
        """As the gate knows it."""
        return Call(
            tool=self.tool,
            arguments=self.arguments,
            context=dict(self.context.model_extra or {}),
            session=self.context.session.strip(),
            objective=self.context.objective.strip(),
            confidence=self.context.confidence,
            approval=self.approval,
        )


class HeldOut(Out):
    """The question that a call is held by."""

    id: UUID
    state: State
    due_at: Moment
    expires_at: Moment | None


class RulingOut(Out):
    """What an agent is told of a call."""

    verdict: Verdict
    reason: Words
    gate: Words
    arguments: dict[str, Any] | None
    outcome: Any
    approval: HeldOut | None

    @classmethod
    def of(cls, ruling: Ruling) -> Self:
        """With the question, where there is one."""
        return cls.taken_from(ruling, approval=HeldOut.taken_from(ruling.approval) if ruling.approval else None)


@router.post("", response=RulingOut, operation_id="ask_gate", summary="May this call from elsewhere go ahead?")
def ask_gate(request: ActorRequest, body: GateIn) -> RulingOut:
    """Judge a call; with the approval that let it through, use that up."""
    ruling = gating.ask(
        _agent(request.actor, body.agent), body.call(), by=request.actor, request_id=body.request_id or uuid7()
    )
    return RulingOut.of(ruling)


def ruling_of(user: User, approval_id: UUID) -> Ruling:
    """How a held call stands now, for those who may know: whoever asked, and whoever sees the agent's team."""
    related = ("run__release", "agent")
    approval = Approval.objects.told_to(user).select_related(*related).filter(pk=approval_id).first()
    if approval is None:
        raise errors.Missing()
    if approval.run.queue != Run.Queue.OUTSIDE:
        raise errors.Conflict("This question is not about a call from elsewhere; see GET /approvals/{approval_id}.")
    return rulings.standing(approval)


def _agent(user: User, slug: str) -> Agent:
    """The agent of that slug, where this user sees it or may ask for it."""
    related = Agent.objects.select_related("team", "release", "frozen_by")
    agent: Agent | None = related.filter(slug=slug).first()
    rights = (Permission.SEE, Permission.GATE)
    if agent is None or not any(user.may(right, agent.team_id) for right in rights):
        raise errors.Missing(f"You can see no agent of the slug {slug!r}.", field="agent")
    return agent
