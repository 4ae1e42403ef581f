"""The costs page, its downloads, and the panel that an agent's page borrows. Everybody reads; nobody writes."""

from datetime import datetime

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.models import Agent, Permission
from agents.pages import PersonRequest
from agents.registry.bundles import OUTSIDE
from finops import downloads, statement
from finops.statement import Question, Statement


def _read(request: PersonRequest, now: datetime) -> Question:
    return Question.read(request.GET.dict(), now=now, zone=timezone.get_current_timezone())


def _drawn_up(request: PersonRequest) -> Statement:
    now = timezone.now()
    return statement.draw_up(_read(request, now), user=request.actor, now=now)


@require_safe
def costs(request: PersonRequest) -> HttpResponse:
    """What was spent. `part=headline` asks for the figures at the top alone, which are kept live."""
    if request.GET.get("part") == "headline":
        now = timezone.now()
        question = _read(request, now)
        top = statement.top(question, user=request.actor, now=now)
        return render(request, "finops/costs.html#headline", {"top": top, "question": question})
    drawn = _drawn_up(request)
    context = {"statement": drawn, "top": drawn.headline, "question": drawn.question}
    may_start = request.actor.may_somewhere(Permission.START)
    return render(request, "finops/costs.html", {**context, "may_start": may_start})


@require_safe
def costs_csv(request: PersonRequest) -> HttpResponse:
    """The table on screen, for a spreadsheet."""
    drawn = _drawn_up(request)
    headers = {"Content-Disposition": f'attachment; filename="{downloads.filename(drawn, "csv")}"'}
    return HttpResponse(downloads.as_csv(drawn), content_type="text/csv; charset=utf-8", headers=headers)


@require_safe
def costs_json(request: PersonRequest) -> HttpResponse:
    """The table on screen, for a program."""
    drawn = _drawn_up(request)
    headers = {"Content-Disposition": f'attachment; filename="{downloads.filename(drawn, "json")}"'}
    return HttpResponse(downloads.as_json(drawn), content_type="application/json", headers=headers)


@require_safe
def agent_costs(request: PersonRequest, slug: str) -> HttpResponse:
    """A panel: what one agent costs, over the last seven days."""
    shown = Agent.objects.visible_to(request.actor).select_related("release").defer("release__bundle")
    agent = get_object_or_404(shown, slug=slug)
    panel = statement.of_agent(agent, user=request.actor, now=timezone.now(), zone=timezone.get_current_timezone())
    return render(
        request, "finops/agent_costs.html", {"agent": agent, "panel": panel, "is_elsewhere": _is_elsewhere(agent)}
    )


def _is_elsewhere(agent: Agent) -> bool:
    """Whether it runs elsewhere, so that what it spends is known there."""
    return agent.release is not None and agent.release.program == OUTSIDE
