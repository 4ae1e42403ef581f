"""The API's doors to claims: who is at work on a question."""

from uuid import UUID

from ninja import Router
from uuid_utils.compat import uuid7

from agents.wire import ActorRequest, Body
from approvals import claiming, delegating, limits
from approvals.api import ApprovalOut, visible, whole

router = Router(tags=["approvals"])


class ClaimIn(Body):
    """Why: needed to take over what somebody else holds."""

    reason: limits.Reason = ""


@router.post("/{approval_id}/claim", response=ApprovalOut, operation_id="claim_approval", summary="Claim an approval")
def claim_approval(request: ActorRequest, approval_id: UUID, body: ClaimIn) -> ApprovalOut:
    """Others leave it to you until the claim runs out."""
    claiming.claim(visible(request.actor, approval_id), by=request.actor, reason=body.reason)
    return whole([visible(request.actor, approval_id)])[0]


@router.delete("/{approval_id}/claim", response=ApprovalOut, operation_id="release_approval", summary="Give it back")
def release_approval(request: ActorRequest, approval_id: UUID, body: ClaimIn) -> ApprovalOut:
    """Undecided; whoever comes next may claim it."""
    claiming.release(visible(request.actor, approval_id), by=request.actor, reason=body.reason)
    return whole([visible(request.actor, approval_id)])[0]


class DelegationIn(Body):
    """To whom, and what they should know."""

    to: str
    note: limits.Reason
    request_id: UUID | None = None


@router.post(
    "/{approval_id}/delegation", response=ApprovalOut, operation_id="delegate_approval", summary="Hand it to somebody"
)
def delegate_approval(request: ActorRequest, approval_id: UUID, body: DelegationIn) -> ApprovalOut:
    """They hold it for a shift; whoever may decide it can take it over with a reason."""
    found = visible(request.actor, approval_id)
    claiming.require(request.actor, found, "approval.delegated")
    to = delegating.named(body.to)
    delegating.delegate(found, to=to, note=body.note, by=request.actor, request_id=body.request_id or uuid7())
    return whole([visible(request.actor, approval_id)])[0]
