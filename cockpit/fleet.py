"""The fleet page: is work flowing, do started runs succeed, is this evidence fresh; then who needs a person.

Reads minute rollups and the small index of unfinished runs, never raw steps, except for the one agent it suspects.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Min
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.models import Agent, AgentMinute, Permission, Run, Step, User
from agents.runs import fleet as evidence
from cockpit.middleware import CockpitRequest

HOURS = 24
ROWS = 60
BUCKET = 5
GOOD, FAIR = 0.98, 0.90
SUSPECT_RUNS = 5


@dataclass(slots=True)
class Row:
    """One agent as the table shows it."""

    agent: Agent
    open: dict[str, int]
    recent: evidence.Recent
    spark: list[int]
    hue: str
    word: str

    @property
    def success(self) -> float | None:
        """The share of ended runs that completed; None without any. A cancelled run is nobody's failure."""
        ended = self.recent.runs_completed + self.recent.runs_failed
        return self.recent.runs_completed / ended if ended else None

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 % of its ended runs were done."""
        return self.recent.run_quantile(0.95)


@require_safe
def fleet(request: CockpitRequest) -> HttpResponse:
    """The home page; `part=now` is what changes of it."""
    template = "cockpit/fleet.html#now" if request.GET.get("part") == "now" else "cockpit/fleet.html"
    return render(request, template, look(request.actor, team=request.GET.get("team", "")))


def look(user: User, *, team: str = "") -> dict[str, Any]:
    """Everything the page says, from a bounded number of queries."""
    agents = Agent.objects.visible_to(user).select_related("team", "release", "frozen_by")
    if team:
        agents = agents.filter(team__slug=team)
    open_runs = evidence.unfinished_by_agent(user)
    recent = evidence.recent_by_agent(user, timezone.now() - timedelta(hours=HOURS))
    sparks = hour_by_agent(user)
    rows = [
        row(agent, open_runs.get(agent.pk, {}), recent.get(agent.pk, evidence.NOTHING), sparks.get(agent.pk, []))
        for agent in agents
    ]
    urgency = {"bad": 0, "warn": 1, "wait": 2, "busy": 3, "ok": 4, "still": 5}
    rows.sort(key=lambda one: (urgency[one.hue], one.agent.slug))
    everyone = evidence.together(one.recent for one in rows)
    return {
        "rows": rows[:ROWS],
        "hidden": max(0, len(rows) - ROWS),
        "total": len(rows),
        "everyone": everyone,
        "p95": everyone.run_quantile(0.95),
        "flow": flow(user, rows),
        "success": success(rows, everyone),
        "fresh": fresh(),
        "cause": cause(user, rows),
        "burn": burn(user),
        "may_start": user.may_somewhere(Permission.START),
        "team": team,
        "teams": [
            (slug, name)
            for slug, name in Agent.objects.visible_to(user)
            .order_by("team__name")
            .values_list("team__slug", "team__name")
            .distinct()
        ],
    }


def row(agent: Agent, open_runs: dict[str, int], recent: evidence.Recent, spark: list[int]) -> Row:
    """An agent with a status made of evidence: frozen, failing, waiting, working, ready, never seen."""
    made = Row(agent, open_runs, recent, spark, "ok", "ready")
    ended = recent.runs_completed + recent.runs_failed
    if agent.frozen_at:
        made.hue, made.word = "still", f"frozen by {agent.frozen_by or 'cockpit'}"
    elif ended >= SUSPECT_RUNS and (made.success or 0) < FAIR:
        made.hue, made.word = "bad", "failing"
    elif open_runs.get(Run.State.WAITING):
        made.hue, made.word = "wait", f"{open_runs[Run.State.WAITING]} waiting"
    elif open_runs.get(Run.State.RUNNING) or open_runs.get(Run.State.QUEUED):
        made.hue, made.word = "busy", "working"
    elif not recent.steps:
        made.hue, made.word = "still", "no work in 24 h"
    return made


def hour_by_agent(user: User) -> dict[Any, list[int]]:
    """Ended runs per five minutes of the last hour, oldest first."""
    now = timezone.now()
    since = now - timedelta(hours=1)
    minutes = AgentMinute.objects.filter(minute__gte=since, agent__in=Agent.objects.visible_to(user))
    found: dict[Any, list[int]] = {}
    for agent_id, minute, done, failed in minutes.values_list("agent_id", "minute", "runs_completed", "runs_failed"):
        place = min(11, max(0, int((minute - since).total_seconds() // (60 * BUCKET))))
        found.setdefault(agent_id, [0] * 12)[place] += done + failed
    return found


def flow(user: User, rows: list[Row]) -> dict[str, Any]:
    """Is work flowing: how much is in flight, and how long the oldest queued run has waited for a worker."""
    counts = {state: sum(one.open.get(state, 0) for one in rows) for state in Run.State}
    oldest = Run.objects.visible_to(user).filter(state=Run.State.QUEUED, agent__frozen_at=None)
    since = oldest.aggregate(since=Min("changed_at"))["since"]
    late = bool(since and timezone.now() - since > timedelta(seconds=30))
    return {"counts": counts, "since": since, "hue": "warn" if late else "ok", "word": "Slowly" if late else "Yes"}


def success(rows: list[Row], everyone: evidence.Recent) -> dict[str, Any]:
    """Do started runs succeed, and who is the exception."""
    ended = everyone.runs_completed + everyone.runs_failed
    if not ended:
        return {"share": None, "hue": "still", "worst": None}
    share = everyone.runs_completed / ended
    tried = [one for one in rows if one.success is not None and one.recent.runs_failed]
    worst = min(tried, key=lambda one: one.success or 0, default=None)
    return {"share": share, "hue": "ok" if share >= GOOD else "warn" if share >= FAIR else "bad", "worst": worst}


def fresh() -> dict[str, Any]:
    """Is this evidence fresh: who is alive, and when somebody last showed a sign of life."""
    signs = evidence.workers()
    workers = [sign for sign in signs if sign.worker.kind == "worker"]
    alive = [sign for sign in workers if sign.is_alive]
    ticks = [sign for sign in signs if sign.worker.kind == "tick" and sign.is_alive]
    hue = "bad" if not alive or not ticks else "warn" if len(alive) < len(workers) else "ok"
    latest = max((sign.worker.seen_at for sign in signs), default=None)
    return {"alive": len(alive), "known": len(workers), "tick": bool(ticks), "latest": latest, "hue": hue}


def cause(user: User, rows: list[Row]) -> dict[str, Any] | None:
    """The likeliest reason of the worst failure: what its latest failed runs have in common."""
    suspects = [one for one in rows if one.hue == "bad"]
    if not suspects:
        return None
    suspect = max(suspects, key=lambda one: one.recent.runs_failed)
    since = timezone.now() - timedelta(hours=HOURS)
    failed = Run.objects.filter(agent=suspect.agent, state=Run.State.FAILED, created_at__gte=since).order_by("-id")
    latest = list(failed.values_list("pk", flat=True)[:50])
    steps = Step.objects.filter(run_id__in=latest, state=Step.State.FAILED)
    common = steps.values("name", "error_class").annotate(n=Count("*"), last=Max("finished_at")).order_by("-n").first()
    return {
        "row": suspect,
        "common": common,
        "of": len(latest),
        "may_freeze": user.may(Permission.STEER, suspect.agent.team_id) and not suspect.agent.frozen_at,
    }


def burn(user: User) -> dict[str, Any]:
    """What the last hour cost, from rollups."""
    hour = evidence.together(evidence.recent_by_agent(user, timezone.now() - timedelta(hours=1)).values())
    return {"hour": hour.known_cost, "unpriced": hour.unpriced}
