"""The fleet page: the verdict first, then the figures, then the agents that matter most now.

Its cost grows with the agents that did something lately, never with those that are registered: only the rows it shows
are read whole. Figures about the past come from minute rollups.
"""

import time
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Q, Sum
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.models import Agent, AgentMinute, Permission, User
from agents.runs import agent_views, finding
from agents.runs import fleet as evidence
from cockpit import verdict
from cockpit.middleware import CockpitRequest

HOURS = 24
ROWS = 60
BUCKET = timedelta(minutes=5)
SLOW_S, MOST_S = 0.1, 20.0
"""Sums that took longer than the first are kept for ten times as long as they took, at most for the second."""
URGENCY = ("bad", "warn", "wait", "busy", "ok", "still")


@require_safe
def fleet(request: CockpitRequest) -> HttpResponse:
    """The home page; `now` is what changes of it."""
    part = "#now" if request.htmx.target == "now" else ""
    return render(request, f"cockpit/fleet.html{part}", look(request.actor, team=request.GET.get("team", "")))


def look(user: User, *, team: str = "") -> dict[str, Any]:
    """Everything the page says, from a bounded number of queries. With `team` all of it is about that team."""
    mine = Agent.objects.visible_to(user)
    scope = None if not team else list(mine.filter(team__slug=team).values_list("pk", flat=True))
    now = timezone.now()
    day = now - timedelta(hours=HOURS)
    whose = (user.places(Permission.SEE), team)
    recent, everyone, summed_at = _kept(whose, lambda: _sums(evidence.recent_by_agent(user, day, agents=scope)))
    seen = verdict.Seen(
        open=evidence.unfinished_by_agent(user, agents=scope),
        recent=recent,
        lost=evidence.lost_by_agent(user, agents=scope),
    )
    signs = evidence.workers()
    total = mine.count() if scope is None else len(scope)
    rows = _rows(user, seen, scope, team)
    return {
        "rows": rows,
        "hidden": total - len(rows),
        "total": total,
        "everyone": everyone,
        "p95": everyone.run_quantile(0.95),
        "flow": verdict.flow(user, seen, scope, signs),
        "success": verdict.success(seen, everyone),
        "fresh": verdict.fresh(signs, summed_at=summed_at),
        "cause": verdict.cause(user, seen),
        "resting": verdict.resting(),
        "burn": _burn(user, scope, now),
        "simulated": _simulated(user, seen),
        "may_start": user.may_somewhere(Permission.START),
        "team": team,
        "teams": agent_views.teams(user),
    }


def _sums(recent: dict[UUID, evidence.Recent]) -> tuple[dict[UUID, evidence.Recent], evidence.Recent, datetime]:
    """Each agent, all of them together, and when they were added up."""
    return recent, evidence.together(recent.values()), timezone.now()


Found = TypeVar("Found")
_found: dict[Hashable, tuple[float, Any]] = {}


def _kept(key: Hashable, find: Callable[[], Found]) -> Found:
    """What `find` finds; where that is slow, as it was a moment ago, so that looking never costs more than a tenth of
    the time however many look. `key` says whose view it is."""
    until, found = _found.get(key, (0.0, None))
    started = time.monotonic()
    if started < until:
        kept: Found = found
        return kept
    fresh = find()
    took = time.monotonic() - started
    for old in [old for old, (end, _) in list(_found.items()) if end < started]:
        _found.pop(old, None)
    if took > SLOW_S:
        _found[key] = (started + min(took * 10, MOST_S), fresh)
    return fresh


def _rows(user: User, seen: verdict.Seen, scope: list[UUID] | None, team: str) -> list[dict[str, Any]]:
    """The agents to show, the most urgent first; where few did anything, quiet ones by name fill up the table."""
    mine = Agent.objects.visible_to(user)
    frozen = mine.filter(frozen_at__isnull=False)
    frozen_ids = set((frozen if scope is None else frozen.filter(pk__in=scope)).values_list("pk", flat=True)[:ROWS])
    active = {*seen.open, *seen.recent, *frozen_ids}
    chosen = sorted(active, key=lambda pk: _urgency(pk, seen, pk in frozen_ids))[:ROWS]
    shown = agent_views.listed(user)
    agents = list(shown.filter(pk__in=chosen))
    if len(agents) < ROWS:
        quiet = shown.filter(team__slug=team) if team else shown
        agents += quiet.exclude(pk__in=chosen).order_by("slug")[: ROWS - len(agents)]
    ids = [agent.pk for agent in agents]
    sparks = _last_hour(ids)
    rows = [
        {
            **agent_views.standing(agent, seen.open.get(agent.pk, {}), seen.of(agent.pk), seen.lost.get(agent.pk, 0)),
            "spark": sparks.get(agent.pk, [0] * 12),
            "p95": seen.of(agent.pk).run_quantile(0.95),
        }
        for agent in agents
    ]
    return sorted(rows, key=lambda row: (URGENCY.index(row["hue"]), row["agent"].slug))


def _urgency(pk: UUID, seen: verdict.Seen, is_frozen: bool) -> tuple[int, int]:
    """What is worst comes first; among equals, who failed most."""
    frozen_by = "somebody" if is_frozen else ""
    hue, _ = evidence.status(seen.open.get(pk, {}), seen.of(pk), lost=seen.lost.get(pk, 0), frozen_by=frozen_by)
    return URGENCY.index(hue), -seen.of(pk).runs_failed


def _last_hour(agents: list[UUID]) -> dict[UUID, list[int]]:
    """Ended runs per five minutes of the last hour, oldest first."""
    since = timezone.now() - timedelta(hours=1)
    minutes = AgentMinute.objects.filter(minute__gte=since, agent__in=agents)
    found: dict[UUID, list[int]] = {}
    for agent_id, minute, done, failed in minutes.values_list("agent_id", "minute", "runs_completed", "runs_failed"):
        found.setdefault(agent_id, [0] * 12)[min(11, (minute - since) // BUCKET)] += done + failed
    return found


def _burn(user: User, scope: list[UUID] | None, now: datetime) -> evidence.Recent:
    """What the last hour cost, from rollups."""
    minutes = AgentMinute.objects.filter(minute__gte=now - timedelta(hours=1), agent__in=Agent.objects.visible_to(user))
    minutes = minutes if scope is None else minutes.filter(agent__in=scope)
    spent = minutes.aggregate(cost=Sum("cost"), unpriced=Sum("unpriced"))
    return evidence.Recent(cost=spent["cost"] or Decimal(0), unpriced=spent["unpriced"] or 0)


def _simulated(user: User, seen: verdict.Seen) -> Any:
    """How much of the money is simulated: what agents spent for whom a simulated model speaks."""
    spent = {pk: recent.cost for pk, recent in seen.recent.items() if recent.cost}
    if not spent:
        return None
    speaks = Q(release__bundle__models__contains=finding.SIMULATED)
    simulated = Agent.objects.visible_to(user).filter(speaks, pk__in=list(spent)).values_list("pk", flat=True)
    return sum(spent[pk] for pk in simulated)
