"""The API's doors to bulk decisions: ask for one, and see how far it has come."""

from typing import Annotated, Self
from uuid import UUID

from django.utils import timezone
from ninja import Field, Router
from uuid_utils.compat import uuid7

from agents import errors
from agents.wire import ActorRequest, Body, GivenMoment, Moment, Out, Words, one_of
from approvals import limits
from approvals.bulk import jobs
from approvals.bulk.choosing import Choice
from approvals.bulk.models import BulkDecision, BulkItem
from approvals.models import Decision
from approvals.queue import Filters

router = Router(tags=["approvals"])

MOST_NAMED = 200
State = Annotated[BulkDecision.State, one_of(BulkDecision.State)]
Answer = Annotated[Decision.Answer, one_of(Decision.Answer)]


class LeftOut(Out):
    """A request that was left as it was."""

    approval: UUID
    why: str


class BulkOut(Out):
    """One answer to many requests, and how far it has come."""

    id: UUID
    state: State
    by: str
    answer: Answer
    code: Words
    reason: str
    chosen: str
    total: int
    decided: int
    left: int
    summary: str
    failures: list[LeftOut]
    created_at: Moment
    finished_at: Moment | None

    @classmethod
    def of(cls, job: BulkDecision) -> Self:
        """With the first of those that were left."""
        items = job.items.filter(state=BulkItem.State.LEFT).order_by("place")[:MOST_NAMED]
        failures = [LeftOut(approval=one.approval_id, why=one.why) for one in items]
        return cls.taken_from(job, by=job.by.username, failures=failures)


class FilterIn(Body):
    """Which of the open requests; none of these is all of them."""

    kind: str = ""
    agent: str = ""
    claim: str = ""
    bulk: str = ""


class BulkIn(Body):
    """One answer to the requests named by `ids` or matching `filter`."""

    answer: str
    reason: limits.Reason
    code: str = ""
    ids: list[UUID] = Field([], max_length=jobs.MOST)
    filter: FilterIn | None = None
    until: GivenMoment | None = None
    request_id: UUID | None = None


@router.post("/bulk", response=BulkOut, operation_id="decide_approvals", summary="Give many approvals one answer")
def decide_in_bulk(request: ActorRequest, body: BulkIn) -> BulkOut:
    """Counted now, of what had been asked by then; a few are decided before this answers, many by a worker."""
    now = timezone.now()
    filters = None if body.filter is None else Filters.of(body.filter.dict())
    job = jobs.start(
        Choice(ids=body.ids, filters=filters, until=body.until or now),
        answer=body.answer,
        code=body.code,
        reason=body.reason,
        by=request.actor,
        request_id=body.request_id or uuid7(),
    )
    return BulkOut.of(job)


@router.get("/bulk/{bulk_id}", response=BulkOut, operation_id="get_bulk", summary="One bulk decision")
def get_bulk_decision(request: ActorRequest, bulk_id: UUID) -> BulkOut:
    """How far it has come, and what was left."""
    job = BulkDecision.objects.visible_to(request.actor).select_related("by").filter(pk=bulk_id).first()
    if job is None:
        raise errors.Missing()
    return BulkOut.of(job)
