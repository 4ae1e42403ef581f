"""What an agent elsewhere asked lately: a panel for the page of the agent."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from agents.models import Agent
from agents.pages import PersonRequest
from agents.registry.outside import OUTSIDE
from approvals.outside.models import OutsideCall

ROWS = 12


@require_safe
def asked(request: PersonRequest, slug: str) -> HttpResponse:
    """The last calls, each with what it was told; nothing for an agent that runs here and never asked."""
    agent = get_object_or_404(Agent.objects.visible_to(request.actor).select_related("release"), slug=slug)
    calls = OutsideCall.objects.visible_to(request.actor).filter(agent=agent).select_related("by", "approval", "run")
    shown = list(calls.defer("run__input", "run__result", "approval__arguments").order_by("-id")[:ROWS])
    is_elsewhere = agent.release is not None and agent.release.program == OUTSIDE
    context = {"agent": agent, "calls": shown, "is_elsewhere": is_elsewhere}
    return render(request, "approvals/outside/asked.html", context)
