"""The pages of agents: who works here, one agent with its release, grants and latest runs, freeze and thaw.

In the slice of runs because what an agent is doing is told by its runs; the registry knows nothing of them.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from agents.contracts import Risk
from agents.keyset import cut
from agents.llm import breakers
from agents.llm.circuit import State
from agents.models import Agent, Permission, Release, Team, Tool, ToolGrant, User
from agents.pages import PersonRequest, reason_and_request_id
from agents.registry import declarations, earning
from agents.registry.outside import OUTSIDE
from agents.runs import finding, fleet, interventions, overridden
from agents.runs.programs.recorded import PROVIDER as RECORDED
from agents.runs.views import fragment
from agents.tools.people import ASK_PERSON

ROWS = 100
RUNS = 10
HOURS = 24


@require_safe
def agents(request: PersonRequest) -> HttpResponse:
    """Every agent one may see, by name."""
    shown, team = listed(request.actor), request.GET.get("team", "")
    if team:
        shown = shown.filter(team__slug=team)
    page = cut(shown, key="slug", limit=ROWS, cursor=request.GET.get("cursor", ""))
    context = {
        "rows": rows(request.actor, page.rows),
        "next_cursor": page.next_cursor,
        "teams": teams(request.actor),
        "team": team,
        "total": shown.count(),
    }
    return render(request, fragment(request, "agents/agents.html", "list"), context)


def listed(user: User) -> QuerySet[Agent]:
    """Agents as a list shows them, without what their releases hold; `is_simulated` says whether a simulated model
    speaks for them."""
    is_simulated = Q(release__bundle__models__contains=finding.SIMULATED)
    shown: QuerySet[Agent] = Agent.objects.visible_to(user).select_related("team", "release", "frozen_by")
    return shown.defer("release__bundle").annotate(
        is_simulated=ExpressionWrapper(is_simulated, output_field=BooleanField()), is_overridden=overridden.OF_AGENT
    )


def rows(user: User, shown: Sequence[Agent]) -> list[dict[str, Any]]:
    """Agents with what they do now and what they did lately: three queries, whatever their number."""
    ids = [agent.pk for agent in shown]
    open_runs = fleet.unfinished_by_agent(user, agents=ids)
    recent = fleet.recent_by_agent(user, timezone.now() - timedelta(hours=HOURS), agents=ids)
    lost = fleet.lost_by_agent(user, agents=ids)
    return [
        standing(agent, open_runs.get(agent.pk, {}), recent.get(agent.pk, fleet.NOTHING), lost.get(agent.pk, 0))
        for agent in shown
    ]


def standing(agent: Agent, open_runs: dict[str, int], recent: fleet.Recent, lost: int) -> dict[str, Any]:
    """One agent with a status made of evidence."""
    recent = fleet.of_agent(agent, recent)
    hue, word = fleet.status(
        open_runs,
        recent,
        lost=lost,
        frozen_by=str(agent.frozen_by or "cockpit") if agent.frozen_at else "",
        is_published=agent.release_id is not None,
    )
    return {"agent": agent, "open": open_runs, "recent": recent, "hue": hue, "word": word}


def teams(user: User) -> list[tuple[str, str]]:
    """Teams that have agents one may see, as filter chips."""
    mine = Agent.objects.visible_to(user).order_by().values("team_id").distinct()
    return list(Team.objects.filter(pk__in=mine).order_by("name").values_list("slug", "name"))


@require_safe
def agent(request: PersonRequest, slug: str) -> HttpResponse:
    """One agent: what it is, which release, what it may do and why, what it did lately."""
    found = get_object_or_404(_shown(request), slug=slug)
    template = fragment(request, "agents/agent.html", "controls", "standing", "latest")
    return render(request, template, _page(request, found))


def _shown(request: PersonRequest) -> QuerySet[Agent]:
    found: QuerySet[Agent] = Agent.objects.visible_to(request.actor)
    return found.select_related("team", "owner", "release", "frozen_by")


def _page(request: PersonRequest, found: Agent) -> dict[str, Any]:
    may = request.actor.may(Permission.STEER, found.team_id)
    runs = finding.listed(request.actor).defer("input", "result", "release__bundle").filter(agent=found)
    return {
        **rows(request.actor, [found])[0],
        "on_people": _on_people(request.actor, found),
        **_left_alone(found),
        "releases": _releases(found),
        "tools": granted(found),
        "runs": runs.order_by("-id")[:RUNS],
        "may_steer": may,
        "overridden": overridden.rows(found),
        "overrides_url": reverse("agents:agent-overrides", args=[found.slug]),
        **overridden.may(found, request.actor),
        "may_start": request.actor.may(Permission.START, found.team_id) and not _is_driven_elsewhere(found),
        "why_not": "" if may else f"Freezing takes the role operator in {found.team}.",
        "draining": interventions.draining(found) if found.frozen_at else 0,
        "sentence": escalates(found),
        "limits": _limits(found),
    }


def _on_people(user: User, found: Agent) -> int:
    """Of its waiting runs those that only a person can let go on."""
    waiting = fleet.waiting(user, agents=[found.pk])
    return sum(number for waits, (number, _) in waiting.items() if waits in fleet.PEOPLE)


def _left_alone(found: Agent) -> dict[str, Any]:
    """Models and tools of its release that keep failing, and whether it works degraded because of the first."""
    bundle = found.release.bundle if found.release else {}
    models = [breakers.of_model(link) for link in bundle.get("models", [])]
    instead = [breakers.of_model(link) for link in (bundle.get("degraded") or {}).get("models", [])]
    its = {*models, *instead, *(breakers.TOOL + name for name in bundle.get("tools", []))}
    resting = [one for one in breakers.states() if one.key in its and one.state != State.CLOSED]
    away = {one.key for one in resting if not one.is_due}
    return {"left_alone": resting, "is_degraded": bool(bundle.get("degraded") and models and models[0] in away)}


def _limits(found: Agent) -> list[tuple[str, str]]:
    """Where its runs end by themselves, in words."""
    given = found.release.bundle.get("limits", {}) if found.release else {}
    told = {"steps": "{} steps", "tokens": "{} tokens", "cost_usd": "${}", "wall_s": "{} s"}
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in given.items()}
    words = [told.get(name, f"{name} {{}}").format(value) for name, value in plain.items()]
    return [("A run ends at", ", ".join(words))] if words else []


def _releases(found: Agent) -> QuerySet[Release]:
    shown: QuerySet[Release] = found.releases.select_related("published_by").defer("bundle")
    return shown.order_by("-published_at")[:10]


def _is_driven_elsewhere(found: Agent) -> bool:
    """Whether nobody starts a run of it: it follows recordings, or its runs begin at the gate."""
    if found.release is None:
        return False
    is_recorded = any(model.get("provider") == RECORDED for model in found.release.chain)
    return is_recorded or found.release.program == OUTSIDE


def granted(found: Agent) -> list[dict[str, Any]]:
    """What it may use, at which tier, since when and granted by whom."""
    bundle = found.release.bundle if found.release else {}
    tiers = bundle.get("tiers", {})
    words = dict(Tool.TIERS)
    grants = ToolGrant.objects.filter(agent=found, revoked_at=None).select_related("tool", "granted_by")
    earned = {(one.tool, one.was): one.tier for one in earning.in_force(found)}
    told = []
    for grant in grants.order_by("tool_id"):
        said = tiers.get(grant.tool_id, grant.tier or grant.tool.tier)
        tier = earned.get((grant.tool_id, said), said)
        word = f"{words.get(tier, '')}{f', earned; its release says {said}' if tier != said else ''}"
        risk = declarations.risk_of(bundle, grant.tool_id, writes=grant.tool.writes)
        told.append({"grant": grant, "tool": grant.tool, "tier": tier, "word": word, "is_high_risk": risk == Risk.HIGH})
    return told


def escalates(found: Agent) -> str:
    """In one sentence, what makes this agent ask a person."""
    tools = granted(found)
    held = [row["tool"].name for row in tools if row["tier"] == 3 or (row["is_high_risk"] and row["tier"] < 4)]
    manual = [row["tool"].name for row in tools if row["tier"] == 4 and row["tool"].name != ASK_PERSON]
    asks = any(row["tool"].name == ASK_PERSON for row in tools)
    if not (held or manual or asks):
        return "It never asks a person: no tool it may use is tier 3 or 4, or of high risk."
    parts = []
    if held:
        parts.append(f"a person approves every {_several(held)}")
    if manual:
        parts.append(f"a person does {_several(manual)} by hand")
    if asks:
        parts.append("a person answers what it asks")
    sentence = " and ".join(parts)
    sandbox = " (not in its sandbox, where acts are simulated)" if found.environment == "sandbox" else ""
    return f"{sentence[0].upper()}{sentence[1:]}{sandbox}; everything else it does alone."


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@require_POST
def freeze(request: PersonRequest, slug: str) -> HttpResponse:
    """Let no run of this agent start another step."""
    found = get_object_or_404(_shown(request), slug=slug)
    interventions.freeze(found, by=request.actor, **reason_and_request_id(request.POST))
    return _steered(request, found)


@require_POST
def thaw(request: PersonRequest, slug: str) -> HttpResponse:
    """Let it go on."""
    found = get_object_or_404(_shown(request), slug=slug)
    interventions.thaw(found, by=request.actor, **reason_and_request_id(request.POST))
    return _steered(request, found)


def _steered(request: PersonRequest, steered: Agent) -> HttpResponse:
    """The controls as they are now, or the page again without script."""
    if not request.htmx:
        return redirect("agents:agent", slug=steered.slug)
    found = get_object_or_404(_shown(request), pk=steered.pk)
    answer = render(request, "agents/agent.html#controls", _page(request, found))
    word = "is frozen: no step of it starts" if found.frozen_at else "goes on where it stood"
    return trigger_client_event(answer, "toast", {"hue": "ok", "text": f"{found} {word}."})
