"""What goes down from a run to those it delegated to: when it fails or is cancelled, they are no longer wanted.

Each in a transaction of its own, after the parent's: a child's end locks upwards, so nothing may lock downwards. What a
crash leaves out the tick catches up with.
"""

from uuid import UUID

from django.db.models import Q

from agents.models import Run
from agents.runs import interventions

WHY = "The run that delegated this one ended before it."


def withdraw_children(run_id: UUID) -> int:
    """Cancel the live runs that this one delegated; how many."""
    return _withdraw(Q(parent=run_id))


def withdraw_orphans(*, limit: int = 200) -> int:
    """Cancel live runs whose parent has ended, or is on its way to its end; how many."""
    return _withdraw(Q(parent__state__in=Run.ENDED) | Q(parent__ending__isnull=False), limit=limit)


def _withdraw(which: Q, *, limit: int = 200) -> int:
    unwanted = Run.objects.live().filter(which, parent__isnull=False, finished_at=None, ending__isnull=True)
    wanted = unwanted.exclude(asked=Run.Asked.CANCEL).order_by("pk").values_list("pk", flat=True)[:limit]
    return sum(interventions.withdraw(pk, reason=WHY) for pk in list(wanted))
