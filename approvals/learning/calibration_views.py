"""The pages of calibration: every agent with each of its tools, one of them in full, and the threshold that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents.keyset import cut
from agents.models import Agent
from agents.pages import PersonRequest, reason_and_request_id
from agents.runs import overriding
from approvals.learning import calibration as calibrations
from approvals.learning import charts, criteria, thresholds
from approvals.learning.calibration import Calibration
from approvals.learning.thresholds import InForce, Proposal

AGENTS = 50


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool of an agent: how right, what holds, and what follows."""

    known: Calibration
    in_force: InForce
    proposal: Proposal


@require_safe
def calibration(request: PersonRequest) -> HttpResponse:
    """Agents and their tools, as far as anybody judged them."""
    shown = Agent.objects.visible_to(request.actor).select_related("team").order_by("slug")
    page = cut(shown, key="slug", limit=AGENTS, cursor=request.GET.get("cursor", ""))
    found = calibrations.of_agents([one.pk for one in page.rows], since=calibrations.since(timezone.now()))
    rows = [(agent, one) for agent in page.rows for one in found.get(agent.pk, ())]
    context = {"rows": rows, "next_cursor": page.next_cursor, "days": criteria.current().calibration.days}
    return render(request, "approvals/learning/calibration.html", context)


@require_safe
def agent_calibration(request: PersonRequest, slug: str) -> HttpResponse:
    """One agent with one tool, or with all: the reliability diagram, and which threshold the figures speak for."""
    agent, since = _agent(request, slug), calibrations.since(timezone.now())
    known = calibrations.of_agents([agent.pk], since=since).get(agent.pk, ())
    if request.htmx.target == "calibration":
        context = {"agent": agent, "rows": known, "days": criteria.current().calibration.days}
        return render(request, "approvals/learning/agent_panel.html", context)
    return render(request, "approvals/learning/agent_calibration.html", _page(request, agent, known))


@require_POST
def threshold(request: PersonRequest, slug: str) -> HttpResponse:
    """Put a threshold in force, for one tool or for all."""
    agent, tool = _agent(request, slug), request.POST.get("tool", "")
    given = {"tool": tool, "value": request.POST.get("threshold", ""), **reason_and_request_id(request.POST)}
    thresholds.put_in_force(agent, by=request.actor, **given)
    address = reverse("approvals:agent-calibration", args=[agent.slug])
    return redirect(f"{address}?{urlencode({'tool': tool})}" if tool else address)


def _agent(request: PersonRequest, slug: str) -> Agent:
    found: Agent = get_object_or_404(
        Agent.objects.visible_to(request.actor).select_related("team", "release", "owner"), slug=slug
    )
    return found


def _page(request: PersonRequest, agent: Agent, known: Sequence[Calibration]) -> dict[str, Any]:
    tool, whole = request.GET.get("tool", ""), calibrations.together(known)
    found = calibrations.one_of(known, tool) if tool else whole
    changes = thresholds.changed(agent)
    in_force = thresholds.in_force(agent, tool, changes=changes)
    proposal = thresholds.proposed(whole, found if tool else None)
    value = proposal.threshold.value if proposal.threshold else None
    return {
        "agent": agent,
        "tool": tool,
        "tools": [(one.tool, one.tool) for one in known],
        "found": found,
        "parts": charts.parts(found.outcomes),
        "outcomes": charts.words(found.outcomes),
        "in_force": in_force,
        "proposal": proposal,
        "held": thresholds.in_force(agent, proposal.tool, changes=changes),
        "rows": [] if tool else [_row(agent, one, whole, changes) for one in known],
        "wanted": criteria.current().calibration,
        "figure": charts.reliability(
            found, threshold=in_force.value, proposed=value if proposal.tool == tool else None
        ),
        "caption": charts.caption(agent.slug, found),
        "refusal": thresholds.refusal(agent, proposal.tool, value, by=request.actor),
        "moot": thresholds.moot(agent, tool),
        "lasts": overriding.LONGEST,
    }


def _row(agent: Agent, known: Calibration, whole: Calibration, changes: thresholds.Changes) -> ToolRow:
    in_force = thresholds.in_force(agent, known.tool, changes=changes)
    return ToolRow(known, in_force, thresholds.proposed(whole, known))
