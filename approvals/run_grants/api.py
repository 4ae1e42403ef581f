"""The API's doors to what may happen unasked for the rest of a run."""

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID

from ninja import Query, Router

from agents import errors
from agents.keyset import cut
from agents.wire import ActorRequest, Body, Filters, Moment, Out, Page, UuidFilter, Words
from approvals import limits
from approvals.run_grants import grants
from approvals.run_grants.models import RunGrant

router = Router(tags=["approvals"])


class RunGrantOut(Out):
    """An act that a person let through for the rest of one run, and the steps that happened because of it."""

    id: UUID
    run: UUID
    approval: UUID
    tool: str
    records: list[dict[str, Any]]
    by: str
    given_at: Moment
    revoked_at: Moment | None
    revoked_by: str | None
    revoked_because: Words
    used_by: list[int]

    @classmethod
    def of(cls, grant: RunGrant) -> Self:
        """With the numbers of the steps that used it."""
        return cls.taken_from(
            grant,
            run=grant.run_id,
            approval=grant.decision.approval_id,
            by=grant.by.username,
            revoked_by=grant.revoked_by.username if grant.revoked_by else None,
            used_by=sorted(use.seq for use in grant.uses.all()),
        )


class RunGrantFilters(Filters):
    """Of which run."""

    run: UuidFilter = None


class RevocationIn(Body):
    """Why."""

    reason: limits.Reason = ""


@router.get("", response=Page[RunGrantOut], operation_id="list_grants", summary="What may happen unasked in runs")
def list_run_grants(request: ActorRequest, filters: Query[RunGrantFilters]) -> Page[RunGrantOut]:
    """Of your teams, newest first."""
    found = _whole(request)
    if filters.run:
        found = found.filter(run=filters.run)
    page = cut(found, key="-id", limit=filters.limit, cursor=filters.cursor)
    rows: Sequence[RunGrant] = page.rows
    return Page(items=[RunGrantOut.of(one) for one in rows], next_cursor=page.next_cursor)


@router.delete("/{grant_id}", response=RunGrantOut, operation_id="revoke_grant", summary="Ask about every act again")
def revoke_run_grant(request: ActorRequest, grant_id: UUID, body: RevocationIn) -> RunGrantOut:
    """Take it back; what has begun goes on."""
    found = _whole(request).filter(pk=grant_id).first()
    if found is None:
        raise errors.Missing()
    grants.revoke(found, by=request.actor, reason=body.reason)
    return RunGrantOut.of(_whole(request).get(pk=grant_id))


def _whole(request: ActorRequest) -> Any:
    shown = RunGrant.objects.visible_to(request.actor)
    return shown.select_related("by", "revoked_by", "decision", "team").prefetch_related("uses")
