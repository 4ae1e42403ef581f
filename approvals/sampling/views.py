"""The page that says how much of what agents do alone people look at, and what they found."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from agents.models import Agent, Permission
from agents.pages import PersonRequest, reason_and_request_id
from approvals.sampling import coverage
from approvals.sampling.models import LEAST, MOST, USUAL


@require_safe
def samples(request: PersonRequest) -> HttpResponse:
    """Coverage per agent and tool, and by how sure the agent was."""
    rows = coverage.of(request.actor)
    may = {row.agent.pk: request.actor.may(Permission.PUBLISH, row.agent.team_id) for row in rows}
    context = {"rows": rows, "may": [pk for pk, allowed in may.items() if allowed], "usual": USUAL}
    return render(request, "approvals/samples.html", context | {"least": LEAST, "most": MOST})


@require_POST
def rate(request: PersonRequest, slug: str) -> HttpResponse:
    """Set the share of one agent's acts with one tool."""
    agent = get_object_or_404(Agent.objects.visible_to(request.actor).select_related("team"), slug=slug)
    posted = request.POST
    coverage.set_rate(
        agent,
        posted.get("tool", ""),
        posted.get("percent", ""),
        by=request.actor,
        **reason_and_request_id(posted),
    )
    return HttpResponseClientRefresh() if request.htmx else redirect("approvals:samples")
