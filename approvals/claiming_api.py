"""The API's doors to claims: who is at work on a question."""

from uuid import UUID

from ninja import Router

from agents.wire import ActorRequest, Body
from approvals import claiming
from approvals.api import ApprovalOut, visible, whole

router = Router(tags=["approvals"])


class ClaimIn(Body):
    """Why: needed to take over what somebody else holds."""

    reason: str = ""


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
