"""The API's doors to approvals: the questions, and the one way to answer them."""

from collections.abc import Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from ninja import Query, Router
from uuid_utils.compat import uuid7

from agents import errors
from agents.keyset import cut
from agents.models import User
from agents.registry.api import agents_named
from agents.wire import (
    ActorRequest,
    Body,
    ConfidenceOut,
    Filters,
    Moment,
    Out,
    Page,
    Several,
    Slugs,
    UuidFilter,
    Words,
    one_of,
)
from approvals import limits, voting
from approvals.decisions import decide
from approvals.escalation import reading
from approvals.escalation.reading import Course
from approvals.escalation.wire import ClockOut, EscalationOut
from approvals.models import Approval, Decision

router = Router(tags=["approvals"])

Kind = Annotated[Approval.Kind, one_of(Approval.Kind)]
State = Annotated[Approval.State, one_of(Approval.State)]
Executed = Annotated[Approval.Executed, one_of(Approval.Executed)]
Zone = Annotated[Approval.Zone, one_of(Approval.Zone)]
Answer = Annotated[Decision.Answer, one_of(Decision.Answer)]
Code = Annotated[Decision.Code, one_of(Decision.Code)]


class DecisionOut(Out):
    """What a person answered."""

    answer: Answer
    by: str
    code: Code | None
    reason: Words
    arguments: dict[str, Any] | None
    outcome: Any
    solo: Words
    request_id: UUID
    at: Moment

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """From its row."""
        return cls.taken_from(decision, by=decision.by.username, code=decision.code or None)


class VoteOut(Out):
    """One of the votes that it takes, for the act as it stands now."""

    by: str
    answer: Answer
    at: Moment


class ReasonOut(Out):
    """Who asked for a person, and why."""

    gate: str
    reason: str
    rule: str | None = None


class ApprovalOut(Out):
    """A question to a person about one step of a run."""

    id: UUID
    kind: Kind
    state: State
    executed: Executed
    run: UUID
    seq: int
    agent: str
    release: str
    team: str
    tool: str
    tier: int
    zone: Zone
    says: Words
    arguments: dict[str, Any]
    preview: list[dict[str, Any]]
    confidence: ConfidenceOut
    reasons: list[ReasonOut]
    answers: list[Answer]
    level: int
    votes_needed: int
    votes: list[VoteOut]
    edited_arguments: dict[str, Any] | None
    digest: str
    requested_at: Moment
    due_at: Moment
    claimed_by: str | None
    claimed_until: Moment | None
    expires_at: Moment | None
    decided_at: Moment | None
    closed_because: Words
    follows: UUID | None
    moved: list[str] | None
    clock: ClockOut
    escalation: EscalationOut | None
    decision: DecisionOut | None

    @classmethod
    def of(cls, approval: Approval, decisions: Sequence[Decision], course: Course) -> Self:
        """With what may be answered while it is open, the votes there are, and the answer once there is one."""
        ballot = voting.ballot(approval, decisions)
        votes = [VoteOut.taken_from(vote, by=vote.by.username) for vote in ballot.given]
        decided = decisions[-1] if decisions and approval.state in Approval.DECIDED else None
        return cls.taken_from(
            approval,
            claimed_by=approval.held_by.username if approval.held_by else None,
            claimed_until=approval.claimed_until if approval.held_by else None,
            run=approval.run_id,
            agent=approval.agent.slug,
            release=approval.release.version,
            team=approval.team.slug,
            follows=approval.follows_id,
            confidence=ConfidenceOut.of(approval),
            answers=list(approval.answers) if approval.is_open else [],
            votes=votes,
            edited_arguments=ballot.arguments,
            digest=ballot.digest,
            clock=ClockOut.of(course.timing),
            escalation=EscalationOut.of(approval, course),
            decision=DecisionOut.of(decided) if decided else None,
        )


class ApprovalFilters(Filters):
    """Which questions."""

    state: Annotated[list[State], Several] = []
    kind: Annotated[list[Kind], Several] = []
    agent: Slugs = []
    run: UuidFilter = None


class DecisionIn(Body):
    """An answer. `code` comes with *reject*, `arguments` with *edit*, `outcome` with *outcome*; `digest` is of what was
    seen."""

    answer: Answer
    code: Code | None = None
    reason: limits.Reason = ""
    arguments: dict[str, Any] | None = None
    outcome: Any = None
    digest: str = ""
    for_run: bool = False
    request_id: UUID | None = None


@router.get("", response=Page[ApprovalOut], operation_id="list_approvals", summary="Approvals, newest first")
def list_approvals(request: ActorRequest, filters: Query[ApprovalFilters]) -> Page[ApprovalOut]:
    """Questions of your teams."""
    found = _shown(request.actor)
    if filters.state:
        found = found.filter(state__in=filters.state)
    if filters.kind:
        found = found.filter(kind__in=filters.kind)
    if filters.agent:
        found = found.filter(agent__in=agents_named(request.actor, filters.agent))
    if filters.run:
        found = found.filter(run=filters.run)
    page = cut(found, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=whole(page.rows), next_cursor=page.next_cursor)


@router.get("/{approval_id}", response=ApprovalOut, operation_id="get_approval", summary="One approval")
def get_approval(request: ActorRequest, approval_id: UUID) -> ApprovalOut:
    """One question, and its answer once there is one."""
    return whole([visible(request.actor, approval_id)])[0]


@router.post(
    "/{approval_id}/decision", response=ApprovalOut, operation_id="decide_approval", summary="Answer an open approval"
)
def decide_approval(request: ActorRequest, approval_id: UUID, body: DecisionIn) -> ApprovalOut:
    """Decide; the run goes on at once."""
    decide(
        visible(request.actor, approval_id),
        answer=body.answer,
        code=body.code or "",
        reason=body.reason,
        by=request.actor,
        request_id=body.request_id or uuid7(),
        arguments=body.arguments,
        outcome=body.outcome,
        digest=body.digest,
        for_run=body.for_run,
    )
    return whole([visible(request.actor, approval_id)])[0]


def _shown(user: User) -> QuerySet[Approval]:
    shown: QuerySet[Approval] = Approval.objects.visible_to(user).defer("release__bundle")
    return shown.select_related("agent", "release", "team", "claimed_by", "acknowledged_by")


def visible(user: User, approval_id: UUID) -> Approval:
    """One that this person can see, or an agent elsewhere asked through this account, with what goes out of it."""
    related = ("agent", "release", "team", "claimed_by")
    told: QuerySet[Approval] = Approval.objects.told_to(user).select_related(*related)
    approval = told.filter(pk=approval_id).first()
    if approval is None:
        raise errors.Missing()
    return approval


def whole(approvals: Sequence[Approval]) -> list[ApprovalOut]:
    """With their decisions, clocks and ladders, in as many queries however many there are."""
    given: dict[UUID, list[Decision]] = {}
    for decision in Decision.objects.filter(approval__in=approvals).select_related("by").order_by("at"):
        given.setdefault(decision.approval_id, []).append(decision)
    courses = reading.courses(approvals, at=timezone.now())
    return [ApprovalOut.of(approval, given.get(approval.pk, []), courses[approval.pk]) for approval in approvals]
