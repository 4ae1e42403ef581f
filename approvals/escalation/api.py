"""The API's door to acknowledging a question."""

from uuid import UUID

from ninja import Router

from agents.wire import ActorRequest, Body
from approvals.api import ApprovalOut, visible, whole
from approvals.escalation import acknowledging

router = Router(tags=["approvals"])


class AcknowledgementIn(Body):
    """Nothing needs to be said."""


@router.post(
    "/{approval_id}/acknowledgement",
    response=ApprovalOut,
    operation_id="acknowledge_approval",
    summary="Acknowledge an approval",
)
def acknowledge_approval(request: ActorRequest, approval_id: UUID, body: AcknowledgementIn) -> ApprovalOut:
    """You look at it; others are not called for a while. Twice is once."""
    acknowledging.acknowledge(visible(request.actor, approval_id), by=request.actor)
    return whole([visible(request.actor, approval_id)])[0]
