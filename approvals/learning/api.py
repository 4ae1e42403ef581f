"""The API's doors to what decisions teach: labels, and requests that are planted."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Query, Router
from uuid_utils.compat import uuid7

from agents.keyset import cut
from agents.registry.api import agents_named
from agents.wire import ActorRequest, Body, Filters, Moment, MomentFilter, Out, Page, Slugs, Words, one_of
from approvals.api import visible
from approvals.learning import labels as lessons
from approvals.learning import planting
from approvals.learning.models import Plant
from approvals.learning.outcomes import Outcome
from approvals.models import Decision

labels = Router(tags=["labels"])
plants = Router(tags=["approvals"])


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
    outcome: Annotated[Outcome, one_of(Outcome)] | None
    reviewer: str
    seconds: float
    looked_s: float | None
    planted: bool


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


class PlantIn(Body):
    """A wrong act like the one at hand: what it asks for instead, and what a reviewer should notice."""

    arguments: dict[str, Any]
    wrong: str
    request_id: UUID | None = None


class PlantOut(Out):
    """A planted request. `caught` is null until it is answered, where nobody answers, and where it was rejected
    together with others."""

    approval: UUID
    agent: str
    tool: str
    wrong: str
    by: str
    planted_at: Moment
    revealed_at: Moment | None
    caught: bool | None


@plants.post("/{approval_id}/plant", response=PlantOut, operation_id="plant_approval", summary="Plant a wrong request")
def plant_approval(request: ActorRequest, approval_id: UUID, body: PlantIn) -> PlantOut:
    """Never carried out, whatever is answered."""
    made = planting.plant(
        visible(request.actor, approval_id),
        arguments=body.arguments,
        wrong=body.wrong,
        by=request.actor,
        request_id=body.request_id or uuid7(),
    )
    found = Plant.objects.select_related("approval__agent", "by").get(pk=made.pk)
    asked = found.approval
    return PlantOut.taken_from(found, approval=asked.pk, agent=asked.agent.slug, tool=asked.tool, by=found.by.username)
