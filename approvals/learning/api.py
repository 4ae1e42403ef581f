"""The API's door to labels."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Query, Router

from agents.keyset import cut
from agents.registry.api import agents_named
from agents.wire import ActorRequest, Filters, Moment, MomentFilter, Out, Page, Slugs, Words, one_of
from approvals.learning import labels as lessons
from approvals.models import Decision

labels = Router(tags=["labels"])


class LabelOut(Out):
    """What a decision teaches."""

    id: UUID
    at: Moment
    agent: str
    team: str
    release: str
    run: UUID
    seq: int
    context: dict[str, Any]
    answer: Annotated[Decision.Answer, one_of(Decision.Answer)]
    correction: dict[str, Any] | None
    rationale: Words
    right: bool | None
    reviewer: str
    seconds: float
    looked_s: float | None


class LabelFilters(Filters):
    """Which labels."""

    agent: Slugs = []
    since: MomentFilter = None


@labels.get("", response=Page[LabelOut], operation_id="list_labels", summary="What decisions teach, newest first")
def list_labels(request: ActorRequest, filters: Query[LabelFilters]) -> Page[LabelOut]:
    """One label for each decision of your teams."""
    named = agents_named(request.actor, filters.agent)
    since: datetime | None = filters.since
    page = cut(
        lessons.decisions(request.actor, agents=named, since=since),
        key="-id",
        limit=filters.limit,
        cursor=filters.cursor,
    )
    items = [LabelOut.taken_from(label) for label in lessons.labelled(page.rows)]
    return Page(items=items, next_cursor=page.next_cursor)
