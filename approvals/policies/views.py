"""The pages of policies: the versions, who may do what, what if, and what makes an agent ask. They only show;
`changing_views` change."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from agents import errors
from agents.keyset import cut
from agents.models import Agent, Team, ToolGrant
from agents.pages import PersonRequest
from approvals.models import PolicyDifference, PolicySet
from approvals.policies import authority, cases, escalating, loaded, permissions, publishing, speaking, supposing
from approvals.policies.loaded import Loaded
from approvals.policies.supposing import Supposition

VERSIONS = 20
DIFFERENCES = 50
AGENTS = 25


@require_safe
def policies(request: PersonRequest) -> HttpResponse:
    """The versions, and one of them: its rules, its cases, and where it says something else than what holds."""
    versions = PolicySet.objects.select_related("published_by", "enforced_by").defer("files", "cases", "surface")
    page = cut(versions, key="-number", limit=VERSIONS, cursor=request.GET.get("cursor", ""))
    chosen = _chosen(request, default=_newest)
    context = {"rows": page.rows, "next_cursor": page.next_cursor, "chosen": chosen}
    context |= {"refusal": authority.refusal(request.actor), **_shown(request, chosen)}
    return render(request, "approvals/policies/policies.html", context)


@require_safe
def matrix(request: PersonRequest) -> HttpResponse:
    """Which agent may do what, why, since when, granted by whom."""
    shown, team = _agents(request), request.GET.get("team", "")
    if team:
        shown = shown.filter(team__slug=team)
    page = cut(shown, key="slug", limit=AGENTS, cursor=request.GET.get("cursor", ""))
    mine = Agent.objects.visible_to(request.actor).order_by().values("team_id").distinct()
    context = {
        "rows": list(permissions.matrix(page.rows)),
        "next_cursor": page.next_cursor,
        "team": team,
        "teams": list(Team.objects.filter(pk__in=mine).order_by("name").values_list("slug", "name")),
        "held": loaded.enforced(),
    }
    return render(request, "approvals/policies/permissions.html", context)


@require_safe
def what_if(request: PersonRequest) -> HttpResponse:
    """An act that somebody makes up, and what would be said of it."""
    agents = list(_agents(request).filter(release__isnull=False).values_list("slug", flat=True))
    slug = request.GET.get("agent") or (agents[0] if agents else "")
    agent = get_object_or_404(_agents(request), slug=slug) if slug else None
    context: dict[str, Any] = {"agents": agents, "agent": agent, "by": None, "answer": None, "form": None}
    if agent is not None and agent.release is not None:
        by = _judging(request)
        granted = supposing.tools(agent)
        form = _form(request, granted)
        context |= {"form": form, "by": by, "versions": _judges()}
        if form.is_bound and form.is_valid():
            supposed = form.cleaned_data
            context["answer"] = supposing.answer(agent, granted[supposed["tool"]], supposed, by)
    return render(request, "approvals/policies/what_if.html", context)


@require_safe
def agent(request: PersonRequest, slug: str) -> HttpResponse:
    """What makes one agent ask, in a sentence, for the page that borrows it."""
    found = get_object_or_404(_agents(request), slug=slug)
    context = {"sentence": escalating.sentence(found), "agent": found}
    return render(request, "approvals/policies/agent.html", context)


def _agents(request: PersonRequest) -> QuerySet[Agent]:
    shown: QuerySet[Agent] = Agent.objects.visible_to(request.actor).order_by("slug")
    return shown.select_related("team", "release__published_by")


def _chosen(request: PersonRequest, default: Any) -> PolicySet | None:
    """The version that the address names, or the one that matters most."""
    number = request.GET.get("version", "")
    if not number:
        found: PolicySet | None = default()
        return found
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise errors.Missing(f"There are no policies {number[:20]!r}; versions are numbers.")
    return publishing.numbered(int(number))


def _newest() -> PolicySet | None:
    return publishing.enforced() or PolicySet.objects.order_by("-number").first()


def _shown(request: PersonRequest, chosen: PolicySet | None) -> dict[str, Any]:
    """One version as its page shows it."""
    if chosen is None:
        return {}
    ready = loaded.load(chosen)
    differing = PolicyDifference.objects.visible_to(request.actor).filter(policy_set=chosen)
    return {
        "outcomes": list(cases.run(ready.engine, chosen.cases)) if ready.engine else [],
        "rules": sorted(ready.engine.rules.values(), key=lambda rule: rule.id) if ready.engine else [],
        "problem": ready.problem,
        "files": sorted(chosen.files.items()),
        "differing": differing.order_by("-id")[:DIFFERENCES],
        "has_old_tools": chosen.surface != speaking.now(),
    }


def _form(request: PersonRequest, granted: dict[str, ToolGrant | None]) -> Supposition:
    """What was supposed, or the form to begin with."""
    if "arguments" in request.GET:
        return Supposition([*granted], request.GET)
    tool = request.GET.get("tool") or next(iter(granted), "")
    return Supposition([*granted], initial={"tool": tool, "arguments": supposing.skeleton(granted.get(tool))})


def _judging(request: PersonRequest) -> Loaded | None:
    """The version that is asked: the one in the address, else the one that holds."""
    if not request.GET.get("version"):
        return loaded.enforced()
    chosen = _chosen(request, default=publishing.enforced)
    return loaded.load(chosen) if chosen else None


def _judges() -> list[tuple[int, str]]:
    return [(one.number, one.get_state_display()) for one in PolicySet.objects.only("number", "state")[:VERSIONS]]
