"""The panel of a run's page that shows what may happen in it unasked, and the button that takes it back."""

from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from agents.models import Permission, Run
from agents.pages import PersonRequest
from approvals.run_grants import grants
from approvals.run_grants.models import RunGrant

MOST = 20


@require_safe
def of_run(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """The grants of one run, the latest first."""
    return _panel(request, get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id))


@require_POST
def revocation(request: PersonRequest, grant_id: UUID) -> HttpResponseBase:
    """Take a grant back; without script one sees the run's page."""
    found = get_object_or_404(RunGrant.objects.visible_to(request.actor).select_related("team", "run"), pk=grant_id)
    grants.revoke(found, by=request.actor, reason=request.POST.get("reason", ""))
    return _panel(request, found.run) if request.htmx else redirect("agents:run", found.run_id)


def _panel(request: PersonRequest, run: Run) -> HttpResponse:
    found = RunGrant.objects.filter(run=run).select_related("by", "revoked_by").prefetch_related("uses")
    may = any(request.actor.may(one, run.team_id) for one in (Permission.DECIDE, Permission.STEER))
    context = {"grants": found.order_by("-id")[:MOST], "run": run, "may_revoke": may}
    return render(request, "approvals/run_grants.html", context)
