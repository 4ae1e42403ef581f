"""What was allowed and its agent did not come back for in time: it is not good any more, and its session may end."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from agents.models import Run, Step
from agents.runs import elsewhere
from approvals import asking
from approvals.models import Approval
from approvals.outside import silence

UNUSED = "Its agent did not come back for it in time."


def withdraw(*, limit: int = 200) -> int:
    """Close held calls whose time is over, with their approvals; how many. For the tick."""
    allowed = Approval.objects.filter(state__in=Approval.ALLOWING, executed=Approval.Executed.NOT_YET)
    late = allowed.filter(expires_at__lte=timezone.now(), run__queue=Run.Queue.OUTSIDE).order_by("expires_at")
    found = list(late.values_list("pk", "run_id")[:limit])
    return sum(_withdraw(*one) for one in [*found, *_lapsed(limit)])


def _lapsed(limit: int) -> Sequence[tuple[UUID, UUID]]:
    """What nobody answered and still keeps its session open, though its agent may not go on any more."""
    held = Step.objects.filter(run=OuterRef("run"), seq=OuterRef("seq"), state=Step.State.HELD)
    going = Approval.objects.filter(run__queue=Run.Queue.OUTSIDE, run__state__in=[Run.State.WAITING, Run.State.PAUSED])
    late = going.filter(Exists(held), state=Approval.State.EXPIRED, expires_at__lte=timezone.now() - silence.lasts())
    return list(late.order_by("pk").values_list("pk", "run_id")[:limit])


@transaction.atomic
def _withdraw(pk: UUID, run_id: UUID) -> bool:
    """Looked at again under its locks: its agent may have come back."""
    run = Run.objects.select_for_update(of=("self",), skip_locked=True).filter(pk=run_id).first()
    if run is None:
        return False
    approval = Approval.objects.select_for_update(of=("self",)).get(pk=pk)
    is_held = run.steps.filter(seq=approval.seq, state=Step.State.HELD).exists()
    if not is_held or approval.executed != Approval.Executed.NOT_YET or not approval.has_expired:
        return False
    asking.close(run.pk, approval.seq, UNUSED)
    elsewhere.refuse(run, approval.seq, "expired", UNUSED)
    return True
