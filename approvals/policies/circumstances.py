"""Facts that the engine finds out about an action, where some rule asks for them: nothing is looked up for nobody.

`conflicting_results`: the same read with the same arguments gave different results in this run. `abnormal_latency`: a
step of this run took longer than 99 % of its agent's steps in the last day; unknown while there are too few of them.
`customer_segment`: what the run's input says under that name. `frozen`: that people have frozen the agent, which stops
its next step by itself, and here the one that is judged or about to happen.
"""

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from uuid import UUID

from django.db import connection
from django.db.models import F, Max
from django.utils import timezone

from agents.contracts import Action, Json
from agents.models import RUN_BOUNDS, Agent, AgentMinute, Run, Step
from approvals.policies import rules
from approvals.policies.engine import PolicyEngine

NAMES = ("conflicting_results", "abnormal_latency", "customer_segment", "frozen")
ENOUGH, SHARE, LATELY = 100, 0.99, timedelta(hours=24)
REMEMBERED_S = 60

CONFLICTS = """
-- Whether a run has read the same thing twice and got different answers.
SELECT EXISTS (
    SELECT 1 FROM agents_step s JOIN agents_steppayload p ON p.run_id = s.run_id AND p.seq = s.seq
    WHERE s.run_id = %s AND s.seq < %s AND s.kind = 'tool' AND s.state = 'done' AND NOT s.writes
    GROUP BY s.name, p.input -> 'arguments' HAVING count(DISTINCT p.output) > 1
)
"""


@lru_cache(maxsize=8)
def wanted(engine: PolicyEngine) -> tuple[str, ...]:
    """The facts that some rule of this engine asks for."""
    return tuple(name for name in NAMES if rules.mentions(engine.rules, name))


def completed(action: Action, *engines: PolicyEngine | None) -> Action:
    """The action with the facts that these engines' rules ask for and nobody has given yet."""
    asked = {name for engine in engines if engine is not None for name in wanted(engine)}
    missing = asked - action.facts.keys()
    if not missing:
        return action
    try:
        found = _found(action, missing)
    finally:
        if not connection.in_atomic_block:
            connection.close()  # a driver keeps none while a model or a tool works
    return replace(action, facts=action.facts | found)


def _found(action: Action, missing: set[str]) -> Json:
    found: Json = {}
    if "conflicting_results" in missing:
        found["conflicting_results"] = _conflicting(action.run_id, action.seq)
    if "abnormal_latency" in missing:
        found["abnormal_latency"] = _is_slow(action)
    if "customer_segment" in missing:
        given = Run.objects.filter(pk=action.run_id).values_list("input__customer_segment", flat=True).first()
        found["customer_segment"] = given if isinstance(given, str) else None
    if "frozen" in missing:
        found["frozen"] = action.agent_id in _frozen(int(timezone.now().timestamp()))
    return found


def _conflicting(run_id: UUID, seq: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(CONFLICTS, [run_id, seq])
        row = cursor.fetchone()
    return bool(row and row[0])


def _is_slow(action: Action) -> bool | None:
    usual = _usual(action.agent_id, int(timezone.now().timestamp()) // REMEMBERED_S)
    if usual is None:
        return None
    before = Step.objects.filter(run_id=action.run_id, seq__lt=action.seq, finished_at__isnull=False)
    slowest = before.aggregate(took=Max(F("finished_at") - F("started_at")))["took"]
    return slowest is not None and slowest.total_seconds() > usual


@lru_cache(maxsize=1)
def _frozen(second: int) -> frozenset[UUID]:
    """The agents that people have frozen. Asked once a second: this stands before every act."""
    return frozenset(Agent.objects.filter(frozen_at__isnull=False).values_list("pk", flat=True))


@lru_cache(maxsize=256)
def _usual(agent_id: UUID, minute: int) -> float | None:
    """Within how many seconds 99 % of an agent's steps end, as its minutes say; None while too few are known. Asked
    once a minute."""
    rows = AgentMinute.objects.filter(agent_id=agent_id, minute__gte=timezone.now() - LATELY)
    counts = [sum(column) for column in zip(*rows.values_list("step_seconds", flat=True), strict=True)]
    total = sum(counts)
    if total < ENOUGH:
        return None
    reached = 0
    for bound, count in zip(RUN_BOUNDS, counts, strict=False):
        reached += count
        if reached >= SHARE * total:
            return float(bound)
    return float("inf")
