"""Earned tiers are watched: what should not have been earned is taken away within seconds, by the tick.

Not by the decision that shows it, which would hold its locks for as long as the counting takes. A grant is looked at
when something was decided or refused of it since the last look; all of them now and then, for what leaves no such
trace: acts taken back, other criteria, a transaction that took longer than anybody expects.
"""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from agents.models import Autonomy, Step, Watermark
from agents.registry import earning
from approvals.learning import criteria, evidence
from approvals.models import Approval

LATEST, ALL = "autonomy", "autonomy, all of it"
LEEWAY = timedelta(seconds=10)
"""A decision says when it was made, and is seen when it is committed."""
FULL = timedelta(minutes=5)


def watch() -> int:
    """Take away what was earned and should not have been; how much. Any number of ticks may."""
    now = timezone.now()
    seen = dict(Watermark.objects.filter(name__in=(LATEST, ALL)).values_list("name", "moved_at"))
    is_full = seen.get(ALL, evidence.EVER) <= now - FULL
    held = Autonomy.objects.filter(ended_at=None).select_related("agent__release", "agent__team", "agent__owner")
    found = held if is_full else held.filter(_moved(since=seen.get(LATEST, evidence.EVER) - LEEWAY))
    lost = sum(_review(one) for one in found)
    for name in (LATEST, ALL) if is_full else (LATEST,):
        _mark(name, now)
    return lost


def _moved(*, since: datetime) -> Q:
    """Whether anything was decided or refused of a grant's agent and tool since then."""
    decided = Approval.objects.filter(agent=OuterRef("agent"), tool=OuterRef("tool"), decided_at__gte=since)
    refused = evidence.REFUSED & Q(agent_id=OuterRef("agent_id"), name=OuterRef("tool"), created_at__gte=since)
    return Q(Exists(decided)) | Q(Exists(Step.objects.filter(refused)))


def _review(one: Autonomy) -> bool:
    seen = evidence.of(one.agent, one.tool, tier=one.tier, since=one.granted_at)
    why = evidence.drifted(seen, criteria.current().drift)
    return bool(why) and earning.withdraw(one, by=None, because=why)


def _mark(name: str, at: datetime) -> None:
    if not Watermark.objects.filter(name=name).update(moved_at=at):
        Watermark.objects.bulk_create([Watermark(name=name)], ignore_conflicts=True)
