"""Claiming, giving back and handing over: the posts answer with the question as it is then."""

from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_POST

from agents.pages import PersonRequest, request_id
from approvals import claiming, delegating
from approvals import question as questions
from approvals.views import place_of, stayed


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


@require_http_methods(["GET", "HEAD", "POST"])
def delegation(request: PersonRequest, approval_id: UUID) -> HttpResponseBase:
    """To whom it could be handed; handed over, by POST."""
    found = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    posted = request.POST
    if request.method == "POST":
        claiming.require(request.actor, found, "approval.delegated")
        delegating.delegate(
            found,
            to=delegating.named(posted.get("to", "")),
            note=posted.get("note", ""),
            by=request.actor,
            request_id=request_id(posted),
        )
        return stayed(request, found, place_of(posted))
    part = "#form" if request.htmx else ""
    people = delegating.colleagues(found, request.actor) if found.is_open else []
    given = place_of(request.GET)
    return render(request, f"approvals/delegation.html{part}", {"approval": found, "people": people, **given})
