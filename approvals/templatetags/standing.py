"""Whether the clock of a row in the queue runs, for the list's template: computed from the row alone."""

from django import template
from django.utils import timezone

from approvals.escalation import reading
from approvals.models import Approval

register = template.Library()


@register.filter
def standstill(approval: Approval) -> reading.Standstill | None:
    """`{% with still=row|standstill %}`: why its clock does not run now; None where it does."""
    return reading.standstill(approval, at=timezone.now())
