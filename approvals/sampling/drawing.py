"""Drawing samples: the tick looks at what was done since it last looked, and asks people about a share of it.

Behind a watermark like the minute rollups, so that a slow transaction is never skipped and no act is drawn twice; and
apart from the act, which must not wait for a counter that every act of its agent shares.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.contracts import Json, Tier
from agents.models import StepPayload, Watermark
from approvals import signals
from approvals.models import Approval
from approvals.sampling import strata
from approvals.sampling.models import USUAL, SampleCount, SampleRate

LOCK = 0x73616D70  # "samp": any number of ticks, one of them draws
NAME = "samples"
WITHIN = timedelta(days=1)
"""How soon somebody should have looked: the act has happened, nothing waits for it."""

DONE = """
-- Acts that an agent did alone at tier 2, or at the tier 1 that it has earned, which it must go on deserving. What was
-- recorded elsewhere, simulated, or takes an act back is no sample.
SELECT s.run_id, s.seq, s.agent_id, s.name, s.says, s.confidence, s.confidence_source, s.finished_at, s.tier,
    r.release_id, r.team_id
FROM agents_step s JOIN agents_run r ON r.id = s.run_id
WHERE s.xid >= %(from)s AND s.xid < %(to)s AND s.state = 'done' AND s.writes
  AND s.compensates IS NULL AND NOT s.simulated AND s.kind = 'tool' AND s.answer IS NULL
  AND NOT r.input ? 'recording'
  AND (s.tier = %(alone)s OR s.tier = %(earned)s AND EXISTS (
    SELECT FROM agents_autonomy a
    WHERE a.agent_id = s.agent_id AND a.tool = s.name AND a.tier = s.tier AND a.ended_at IS NULL))
ORDER BY s.xid, s.run_id, s.seq
"""

Key = tuple[UUID, str, str]
_chance = SystemRandom().random


@transaction.atomic
def draw(chance: Callable[[], float] = _chance) -> int:
    """Ask about a share of what was done since the last time; how many questions were opened."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        mark, is_new = Watermark.objects.get_or_create(name=NAME, defaults={"xid": cursor.fetchone()[0]})
        if is_new:  # what was done before anybody sampled stays as it is
            return 0
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        span = {"from": mark.xid, "to": cursor.fetchone()[0], "alone": int(Tier.SUPERVISED), "earned": int(Tier.AUTO)}
        cursor.execute(DONE, span)
        columns = [column.name for column in cursor.description]
        acts = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    Watermark.objects.filter(name=NAME).update(xid=span["to"], moved_at=timezone.now())
    return _ask(_drawn(acts, chance)) if acts else 0


def _drawn(acts: list[dict[str, Any]], chance: Callable[[], float]) -> list[tuple[dict[str, Any], int]]:
    """The acts that are taken, each with the per cent it stands for; the counts are moved."""
    percents = rates({(act["agent_id"], act["name"]) for act in acts})
    counts: dict[Key, SampleCount] = {}
    for count in SampleCount.objects.filter(agent__in={act["agent_id"] for act in acts}).select_for_update():
        counts[count.agent_id, count.tool, count.stratum] = count
    taken = []
    for act in acts:
        key = act["agent_id"], act["name"], strata.stratum(act["confidence"])
        count = counts.setdefault(key, SampleCount(agent_id=key[0], tool=key[1], stratum=key[2]))
        percent = percents.get(key[:2], USUAL)
        if strata.is_taken(count.seen, count.taken, percent / 100, chance):
            count.taken += 1
            taken.append((act, percent))
        count.seen += 1
    SampleCount.objects.bulk_create(
        counts.values(),
        update_conflicts=True,
        unique_fields=["agent", "tool", "stratum"],
        update_fields=["seen", "taken"],
    )
    return taken


def rates(classes: set[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], int]:
    """Per cent, for the agents and tools where a person has set it."""
    last = SampleRate.objects.filter(agent__in={agent for agent, _ in classes}).order_by("agent_id", "tool", "-id")
    return {(one.agent_id, one.tool): one.percent for one in last.distinct("agent_id", "tool")}


def _ask(taken: list[tuple[dict[str, Any], int]]) -> int:
    """Open the questions. Nobody waits for the answers, so nobody is alarmed: they stand in the queue."""
    given = {(one.run_id, one.seq): one.input for one in _payloads([act for act, _ in taken])}
    due_at = timezone.now() + WITHIN
    opened = Approval.objects.bulk_create(
        [_question(act, given.get((act["run_id"], act["seq"])), percent, due_at) for act, percent in taken]
    )
    if opened:
        signals.samples_drawn.send(Approval, approval_ids=[one.pk for one in opened])
    return len(opened)


def _payloads(acts: list[dict[str, Any]]) -> QuerySet[StepPayload]:
    places = Q()
    for act in acts:
        places |= Q(run_id=act["run_id"], seq=act["seq"])
    found: QuerySet[StepPayload] = StepPayload.objects.filter(places) if acts else StepPayload.objects.none()
    return found


def _question(act: dict[str, Any], given: Json | None, percent: int, due_at: datetime) -> Approval:
    reason = f"One of the {percent} % of what it does with {act['name']} alone that a person looks at afterwards."
    return Approval(
        run_id=act["run_id"],
        seq=act["seq"],
        agent_id=act["agent_id"],
        release_id=act["release_id"],
        team_id=act["team_id"],
        kind=Approval.Kind.SAMPLE,
        executed=Approval.Executed.EXECUTED,
        tier=act["tier"],
        tool=act["name"],
        says=act["says"],
        arguments=(given or {}).get("arguments") or {},
        confidence=act["confidence"],
        confidence_source=act["confidence_source"],
        reasons=[{"gate": "sample", "reason": reason}],
        zone=Approval.Zone.GREEN,
        alike=hashlib.sha256(f"sample {act['agent_id']} {act['name']}".encode()).hexdigest(),
        due_at=due_at,
    )
