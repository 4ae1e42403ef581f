"""The pages of agents: who works here, one agent with its release, grants and latest runs, freeze and thaw.

In the slice of runs because what an agent is doing is told by its runs; the registry knows nothing of them.
"""

from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents.keyset import cut
from agents.models import Agent, Permission, Run, Tool, ToolGrant
from agents.runs import fleet, interventions
from agents.runs.views import Request, steering

ROWS = 100


@require_safe
def agents(request: Request) -> HttpResponse:
    """Every agent one may see, by name."""
    shown = Agent.objects.visible_to(request.actor).select_related("team", "owner", "release")
    team = request.GET.get("team", "")
    if team:
        shown = shown.filter(team__slug=team)
    page = cut(shown, key="slug", limit=ROWS, cursor=request.GET.get("cursor", ""))
    ids = [agent.pk for agent in page.rows]
    context = {
        "rows": rows(request, page.rows),
        "next_cursor": page.next_cursor,
        "teams": teams(request),
        "team": team,
        "count": len(ids),
    }
    part = "#list" if request.GET.get("part") == "list" else ""
    return render(request, f"agents/agents.html{part}", context)


def rows(request: Request, shown: Any, *, hours: int = 24) -> list[dict[str, Any]]:
    """Agents with what they do now and what they did lately: two queries, whatever their number."""
    ids = [agent.pk for agent in shown]
    open_runs = fleet.unfinished_by_agent(request.actor, agents=ids)
    since = timezone.now() - timedelta(hours=hours)
    recent = fleet.recent_by_agent(request.actor, since, agents=ids)
    return [
        {"agent": agent, "open": open_runs.get(agent.pk, {}), "recent": recent.get(agent.pk, fleet.NOTHING)}
        for agent in shown
    ]


def teams(request: Request) -> list[tuple[str, str]]:
    """Teams that have agents one may see, as filter chips."""
    found = Agent.objects.visible_to(request.actor).order_by("team__name")
    return list(found.values_list("team__slug", "team__name").distinct())


@require_safe
def agent(request: Request, slug: str) -> HttpResponse:
    """One agent: what it is, which release, what it may do and why, what it did lately."""
    found = get_object_or_404(_shown(request), slug=slug)
    part = "#controls" if request.GET.get("part") == "controls" else ""
    return render(request, f"agents/agent.html{part}", _page(request, found))


def _shown(request: Request) -> Any:
    return Agent.objects.visible_to(request.actor).select_related("team", "owner", "release", "frozen_by")


def _page(request: Request, found: Agent) -> dict[str, Any]:
    may = request.actor.may(Permission.STEER, found.team_id)
    return {
        **rows(request, [found])[0],
        "releases": found.releases.select_related("published_by").order_by("-published_at")[:10],
        "tools": _tools(found),
        "runs": Run.objects.filter(agent=found).select_related("release").order_by("-id")[:10],
        "may_steer": may,
        "may_start": request.actor.may(Permission.START, found.team_id),
        "why_not": "" if may else f"Freezing takes the role operator in {found.team}.",
        "draining": interventions.draining(found) if found.frozen_at else 0,
        "sentence": escalates(found),
    }


def _tools(found: Agent) -> list[dict[str, Any]]:
    """What it may use, at which tier, since when and granted by whom."""
    tiers = found.release.bundle.get("tiers", {}) if found.release else {}
    words = dict(Tool.TIERS)
    grants = ToolGrant.objects.filter(agent=found, revoked_at=None).select_related("tool", "granted_by")
    told = []
    for grant in grants.order_by("tool_id"):
        tier = tiers.get(grant.tool_id, grant.tier or grant.tool.tier)
        told.append({"grant": grant, "tool": grant.tool, "tier": tier, "word": words.get(tier, "")})
    return told


def escalates(found: Agent) -> str:
    """In one sentence, what makes this agent ask a person."""
    tools = _tools(found)
    held = [row["tool"].name for row in tools if row["tier"] == 3]
    manual = [row["tool"].name for row in tools if row["tier"] == 4]
    if not held and not manual:
        return "It never asks a person: no tool it may use is tier 3 or 4."
    parts = []
    if held:
        parts.append(f"a person approves every {', '.join(held)}")
    if manual:
        parts.append(f"a person does {', '.join(manual)} by hand")
    sandbox = " (not in its sandbox, where acts are simulated)" if found.environment == "sandbox" else ""
    return f"{' and '.join(parts).capitalize()}{sandbox}; everything else it does alone."


@require_POST
def freeze(request: Request, slug: str) -> HttpResponse:
    """Let no run of this agent start another step."""
    found = get_object_or_404(_shown(request), slug=slug)
    interventions.freeze(found, by=request.actor, **steering(request))
    return _steered(request, found)


@require_POST
def thaw(request: Request, slug: str) -> HttpResponse:
    """Let it go on."""
    found = get_object_or_404(_shown(request), slug=slug)
    interventions.thaw(found, by=request.actor, **steering(request))
    return _steered(request, found)


def _steered(request: Request, found: Agent) -> HttpResponse:
    if not getattr(request, "htmx", False):
        return redirect("agents:agent", slug=found.slug)
    return render(
        request, "agents/agent.html#controls", _page(request, get_object_or_404(_shown(request), pk=found.pk))
    )
