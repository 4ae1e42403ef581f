"""The posts of the claim buttons: both answer with the question as it is then."""

from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from approvals import claiming
from approvals import question as questions
from approvals.views import PersonRequest, place_of, stayed


@require_POST
def claim(request: PersonRequest, approval_id: UUID) -> HttpResponseBase:
    """Take it, or take it over."""
    found = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    claiming.claim(found, by=request.actor, reason=request.POST.get("reason", ""))
    return stayed(request, found, place_of(request.POST))


@require_POST
def release(request: PersonRequest, approval_id: UUID) -> HttpResponseBase:
    """Give it back."""
    found = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    claiming.release(found, by=request.actor, reason=request.POST.get("reason", ""))
    return stayed(request, found, place_of(request.POST))
