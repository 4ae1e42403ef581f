"""The pages of calibration: every agent with each of its tools, one of them in full, and the threshold that follows."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import errors
from agents.keyset import cut
from agents.models import Agent, Permission
from agents.pages import PersonRequest, reason_and_request_id
from agents.runs import overriding
from approvals.learning import calibration as calibrations
from approvals.learning import charts, criteria

AGENTS = 50


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
    agent = _agent(request, slug)
    if request.htmx.target == "calibration":
        found = calibrations.of_agents([agent.pk], since=calibrations.since(timezone.now()))
        context = {"agent": agent, "rows": found.get(agent.pk, ()), "days": criteria.current().calibration.days}
        return render(request, "approvals/learning/agent_panel.html", context)
    return render(request, "approvals/learning/agent_calibration.html", _page(request, agent))


@require_POST
def threshold(request: PersonRequest, slug: str) -> HttpResponse:
    """Put a threshold in force, for as long as an override of all runs of an agent may hold."""
    agent = _agent(request, slug)
    if _may(request, agent) and not _has_threshold(agent):
        raise errors.Conflict(f"{agent} has no release whose threshold could be changed.")
    given = request.POST.get("threshold", "")
    until = timezone.now() + overriding.LONGEST
    overriding.override(
        agent,
        parameter=calibrations.PARAMETER,
        value=given,
        by=request.actor,
        expires_at=until,
        **reason_and_request_id(request.POST),
    )
    return redirect("approvals:agent-calibration", slug=agent.slug)


def _agent(request: PersonRequest, slug: str) -> Agent:
    found: Agent = get_object_or_404(
        Agent.objects.visible_to(request.actor).select_related("team", "release", "owner"), slug=slug
    )
    return found


def _page(request: PersonRequest, agent: Agent) -> dict[str, Any]:
    tool, wanted = request.GET.get("tool", ""), criteria.current().calibration
    since = calibrations.since(timezone.now())
    tools = [one.tool for one in calibrations.of_agents([agent.pk], since=since).get(agent.pk, ())]
    found = calibrations.of(agent.pk, tool=tool, since=since)
    in_force = calibrations.in_force(agent)
    whole = found if not tool else calibrations.of(agent.pk, since=since)
    return {
        "agent": agent,
        "tool": tool,
        "tools": [(one, one) for one in tools],
        "found": found,
        "in_force": in_force,
        "proposed": whole.proposed(),
        "wanted": wanted,
        "figure": charts.reliability(found, threshold=in_force.value),
        "caption": charts.caption(agent.slug, found),
        "refusal": _refusal(request, agent),
        "lasts": overriding.LONGEST,
    }


def _refusal(request: PersonRequest, agent: Agent) -> str:
    """Why this person can put no threshold in force; empty when they can."""
    if not _has_threshold(agent):
        return f"{agent} has no release whose threshold could be changed."
    if not _may(request, agent):
        return f"Changing the threshold takes the role operator or governance in {agent.team}."
    return ""


def _may(request: PersonRequest, agent: Agent) -> bool:
    return any(request.actor.may(one, agent.team_id) for one in (Permission.STEER, Permission.PUBLISH))


def _has_threshold(agent: Agent) -> bool:
    return agent.release is not None and calibrations.PARAMETER in {one.path for one in overriding.on_offer(agent)}
