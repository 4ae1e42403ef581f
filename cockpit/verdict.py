"""The three answers at the top of the fleet page, and the likely cause where one of them is no.

Is work flowing, do started runs succeed, is this evidence fresh: each answered from evidence, in a word and a reason.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min
from django.utils import timezone

from agents.llm import breakers
from agents.llm.circuit import State
from agents.models import Agent, Permission, Run, Step, User, Watermark
from agents.runs import fleet as evidence
from agents.runs.shapes import earliest_id

LATE = timedelta(seconds=30)
"""A run that waits longer than this for a worker means that work does not flow as it should."""
STALE, DEAD = timedelta(seconds=15), timedelta(seconds=60)
"""How old the figures may be before they are called old, and before they are not to be trusted."""
MISSED_S = 120.0
"""A process that fell silent is named for this long."""
FORGOTTEN = timedelta(hours=1)
"""So long after a breaker let a call through again and none came, nobody needs what it stands before."""
SAMPLE = 50
"""So many failed runs are looked at for what they have in common."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of each agent: unfinished runs by state, the last day, runs whose driver is silent."""

    open: dict[UUID, dict[str, int]]
    recent: dict[UUID, evidence.Recent]
    lost: dict[UUID, int]

    def of(self, pk: UUID) -> evidence.Recent:
        """The last day of one agent."""
        return self.recent.get(pk, evidence.NOTHING)


def flow(user: User, seen: Seen, scope: list[UUID] | None, signs: list[evidence.Sign]) -> dict[str, Any]:
    """Is work flowing: how much is in flight, and how long the oldest queued run has waited for a worker."""
    counts = {state: sum(one.get(state, 0) for one in seen.open.values()) for state in evidence.UNFINISHED}
    queued = Run.objects.visible_to(user).filter(state=Run.State.QUEUED, agent__frozen_at=None)
    queued = queued if scope is None else queued.filter(agent__in=scope)
    since = queued.aggregate(since=Min("changed_at"))["since"] if counts[Run.State.QUEUED] else None
    nobody = not any(sign.is_alive for sign in signs if sign.worker.kind == "worker")
    has_work = bool(counts[Run.State.QUEUED] or any(counts[state] for state in counts if state in Run.DRIVEN))
    lost = sum(seen.lost.values())
    hue, word = "ok", "Yes"
    if has_work and nobody:
        hue, word = "bad", "No"
    elif lost or (since and timezone.now() - since > LATE):
        hue, word = "warn", "Slowly"
    elif not has_work:
        hue, word = "ok", "Nothing to do"
    return {
        "counts": counts,
        "since": since,
        "lost": lost,
        "nobody": nobody,
        "hue": hue,
        "word": word,
        **_waiting(evidence.waiting(user, agents=scope) if counts[Run.State.WAITING] else {}),
    }


def _waiting(found: dict[str, tuple[int, datetime]]) -> dict[str, Any]:
    """Who waits for people, who for room, who for time to pass, and who for runs they delegated. A session that is
    driven elsewhere is nobody's wait here."""
    capacity, room_since = found.get(Run.Waits.CAPACITY, (0, None))

    def number(kinds: Collection[str]) -> int:
        return sum(count for waits, (count, _) in found.items() if waits in kinds)

    return {
        "on_people": number(evidence.PEOPLE),
        "on_decision": number({Run.Waits.DECISION}),
        "on_capacity": capacity,
        "room_since": room_since,
        "on_time": number(evidence.TIME),
        "on_others": number({Run.Waits.DELEGATION}),
    }


def resting() -> list[breakers.Known]:
    """Models and tools that are left alone because they keep failing, the one that has been longest first. One that
    nobody has called for long, though they might, is no news."""
    old = timezone.now() - FORGOTTEN
    found = (one for one in breakers.states() if one.state != State.CLOSED)
    news = (one for one in found if not (one.is_due and one.retry_at and one.retry_at < old))
    return sorted(news, key=attrgetter("since"))


def success(seen: Seen, everyone: evidence.Recent) -> dict[str, Any]:
    """Do started runs succeed, and who is the exception."""
    share = everyone.success
    if share is None:
        return {"share": None, "hue": "still", "worst": None}
    hue = "ok" if share >= evidence.GOOD else "warn" if share >= evidence.FAIR else "bad"
    failing = [(pk, recent) for pk, recent in seen.recent.items() if recent.is_failing]
    told: dict[str, Any] = {"share": share, "hue": hue, "worst": None, "ended": _ended(everyone)}
    if failing:
        pk, worst = max(failing, key=lambda one: one[1].runs_failed)
        others = evidence.together(recent for other, recent in seen.recent.items() if other != pk)
        hue = "warn" if hue == "ok" else hue
        slug = Agent.objects.values_list("slug", flat=True).get(pk=pk)
        told |= {"hue": hue, "worst": slug, "its": worst.success, "others": others.success}
    return told


def _ended(recent: evidence.Recent) -> int:
    return recent.runs_completed + recent.runs_failed


def fresh(signs: list[evidence.Sign], *, summed_at: datetime) -> dict[str, Any]:
    """Is this evidence fresh: when figures were last counted, how many workers are alive, which fell silent."""
    workers = [sign for sign in signs if sign.worker.kind == "worker"]
    alive = [sign for sign in workers if sign.is_alive]
    silent = [sign for sign in workers if not sign.is_alive and sign.age_s < MISSED_S and sign.worker.driving]
    has_tick = any(sign.is_alive for sign in signs if sign.worker.kind == "tick")
    counted = Watermark.objects.filter(name="agent_minutes").values_list("moved_at", flat=True).first()
    counted = min(counted, summed_at) if counted else None
    age = timezone.now() - counted if counted else None
    is_dead = age is None or age > DEAD or not alive
    hue = "bad" if is_dead else "warn" if silent or not has_tick or (age and age > STALE) else "ok"
    return {"counted": counted, "alive": len(alive), "silent": silent, "has_tick": has_tick, "hue": hue}


def cause(user: User, seen: Seen) -> dict[str, Any] | None:
    """The likeliest reason of the worst failure: what its latest failed runs have in common."""
    failing = [pk for pk, recent in seen.recent.items() if recent.is_failing]
    if not failing:
        return None
    suspect = max(failing, key=lambda pk: seen.of(pk).runs_failed)
    agent = Agent.objects.select_related("frozen_by").get(pk=suspect)
    since = earliest_id(timezone.now() - timedelta(hours=24))
    failed = Run.objects.filter(agent=agent, state=Run.State.FAILED, pk__gte=since).order_by("-id")
    latest = list(failed.values_list("pk", "failure_class")[:SAMPLE])
    steps = Step.objects.filter(run_id__in=[pk for pk, _ in latest], state=Step.State.FAILED)
    common = steps.values("name", "error_class").annotate(n=Count("run_id", distinct=True), last=Max("finished_at"))
    classes = [failure_class for _, failure_class in latest]
    return {
        "agent": agent,
        "common": common.order_by("-n").first(),
        "failure_class": max(set(classes), key=classes.count, default=""),
        "of": len(latest),
        "failed": seen.of(suspect).runs_failed,
        "may_freeze": user.may(Permission.STEER, agent.team_id),
    }
