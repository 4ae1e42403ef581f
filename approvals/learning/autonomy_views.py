"""The pages of earned autonomy: what is proposed and what holds, the evidence about one agent, and the answers."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from agents import errors
from agents.keyset import cut
from agents.models import Agent, Autonomy, Permission
from agents.pages import PersonRequest, reason_and_request_id
from agents.people import proving
from agents.registry import earning
from approvals.learning import autonomy as autonomies
from approvals.learning import criteria, evidence
from approvals.learning.models import Proposal

ROWS = 50
HISTORY = 20


@require_safe
def autonomy(request: PersonRequest) -> HttpResponse:
    """Proposals, the newest first, and what agents have earned and not lost."""
    related = ("agent__team", "agent__owner", "closed_by")
    proposals = Proposal.objects.visible_to(request.actor).select_related(*related)
    if state := _state(request.GET.get("state", "")):
        proposals = proposals.filter(state=state)
    page = cut(proposals, key="-id", limit=ROWS, cursor=request.GET.get("cursor", ""))
    mine = Agent.objects.visible_to(request.actor).values("pk")
    held = Autonomy.objects.filter(agent__in=mine, ended_at=None).select_related("agent__team", "granted_by")
    context = {
        "rows": page.rows,
        "next_cursor": page.next_cursor,
        "held": held.order_by("agent__slug", "tool")[:ROWS],
        "states": [(one.value, one.label) for one in Proposal.State],
        "agents": mine.filter(release__isnull=False).order_by("slug").values_list("slug", flat=True)[:ROWS],
    }
    return render(request, "approvals/learning/autonomy.html", context)


def _state(given: str) -> str:
    """A state that cannot be is refused and not answered with an empty list."""
    if given not in ("", *Proposal.State.values):
        known = ", ".join(Proposal.State.values)
        raise errors.Invalid(f"`state` cannot be {given!r}; it can be {known}.", field="state")
    return given


@require_safe
def agent_autonomy(request: PersonRequest, slug: str) -> HttpResponse:
    """The evidence about one agent, tool by tool: what it takes, what there is, what never graduates."""
    agent = _agent(request, slug)
    tools = agent.release.bundle.get("tools", ()) if agent.release else ()
    chosen = request.GET.get("tool", "") or next(iter(tools), "")
    context = {"agent": agent, "tools": [(tool, tool) for tool in tools], "tool": chosen}
    return render(request, "approvals/learning/agent_autonomy.html", context | _evidence(request, agent, chosen))


@require_POST
def ratification(request: PersonRequest, proposal_id: UUID) -> HttpResponse:
    """Let the agent act at the milder tier."""
    return _answered(request, proposal_id, autonomies.RATIFY)


@require_POST
def refusal(request: PersonRequest, proposal_id: UUID) -> HttpResponse:
    """Leave the tier as it is."""
    return _answered(request, proposal_id, autonomies.DECLINE)


def _answered(request: PersonRequest, proposal_id: UUID, answer: str) -> HttpResponse:
    related = ("agent__team", "agent__owner", "agent__release")
    found = get_object_or_404(Proposal.objects.visible_to(request.actor).select_related(*related), pk=proposal_id)
    if answer == autonomies.RATIFY and not earning.refusal(found.agent, request.actor):
        proving.prove(request, request.actor)
    autonomies.decide(found, answer=answer, by=request.actor, **reason_and_request_id(request.POST))
    return _onward(request, found.agent, found.tool)


@require_POST
def demotion(request: PersonRequest, autonomy_id: UUID) -> HttpResponse:
    """Take a tier that was earned away again."""
    mine = Agent.objects.visible_to(request.actor).values("pk")
    found = get_object_or_404(
        Autonomy.objects.filter(agent__in=mine).select_related("agent__team", "agent__owner"), pk=autonomy_id
    )
    autonomies.demote(found, by=request.actor, **reason_and_request_id(request.POST))
    return _onward(request, found.agent, found.tool)


def _agent(request: PersonRequest, slug: str) -> Agent:
    related = ("team", "release", "owner")
    found: Agent = get_object_or_404(Agent.objects.visible_to(request.actor).select_related(*related), slug=slug)
    return found


def _evidence(request: PersonRequest, agent: Agent, tool: str) -> dict[str, Any]:
    """What speaks for and against, who may say so, and what was said before."""
    seen = evidence.gather(agent, tool)
    if seen is None:
        return {"seen": None}
    held = criteria.current()
    earned = Autonomy.objects.filter(agent=agent, tool=tool).select_related("granted_by", "ended_by")
    about = Proposal.objects.filter(agent=agent, tool=tool).select_related("closed_by")
    return {
        "seen": seen,
        "released": earning.released(agent, tool),
        "never": evidence.floored(seen, mildest=earning.floor(tool), never=held.never),
        "requirements": evidence.requirements(seen, held.of_tier(seen.tier - 1)),
        "milder": seen.tier - 1,
        "proposal": about.filter(state=Proposal.State.OPEN).first(),
        "proposals": about.filter(~Q(state=Proposal.State.OPEN)).order_by("-id")[:HISTORY],
        "earned": earned.filter(ended_at=None).first(),
        "lost": earned.filter(ended_at__isnull=False).order_by("-ended_at")[:HISTORY],
        "refusal": earning.refusal(agent, request.actor),
        "lacks_factor": earning.needs_person(request.actor),
        "proof": render_to_string("components/proof.html", {"proof": proving.wanted(request.actor)}, request),
        "may_demote": request.actor.may(Permission.STEER, agent.team_id),
        "drift": held.drift,
    }


def _onward(request: PersonRequest, agent: Agent, tool: str) -> HttpResponse:
    """To the evidence, as it is now. A dialog that is refused stays open and says why."""
    address = f"{reverse('approvals:agent-autonomy', args=[agent.slug])}?{urlencode({'tool': tool})}"
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)
