"""What was allowed and its agent did not come back for in time: it is not good any more, and its session may end."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.models import Run
from agents.runs import elsewhere
from approvals import asking
from approvals.models import Approval

UNUSED = "Its agent did not come back for it in time."


def withdraw(*, limit: int = 200) -> int:
    """Close the approvals of held calls whose time is over; how many. For the tick."""
    allowed = Approval.objects.filter(state__in=Approval.ALLOWING, executed=Approval.Executed.NOT_YET)
    late = allowed.filter(expires_at__lte=timezone.now(), run__queue=Run.Queue.OUTSIDE).order_by("expires_at")
    return sum(_withdraw(*one) for one in list(late.values_list("pk", "run_id")[:limit]))


@transaction.atomic
def _withdraw(pk: UUID, run_id: UUID) -> bool:
    """Looked at again under its locks: its agent may have come back."""
    run = Run.objects.select_for_update(of=("self",), skip_locked=True).filter(pk=run_id).first()
    if run is None:
        return False
    approval = Approval.objects.select_for_update(of=("self",)).get(pk=pk)
    if approval.executed != Approval.Executed.NOT_YET or not approval.has_expired:
        return False
    asking.close(run.pk, approval.seq, UNUSED)
    elsewhere.refuse(run, approval.seq, "expired", UNUSED)
    return True
