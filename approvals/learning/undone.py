"""Acts that agents did alone and that people had taken back without having judged them: no question was decided about
them, so steps are what tells of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from approvals.learning import outcomes
from approvals.models import Approval

FIND = """
-- What people had taken back, found by the steps that did it (outcomes.taking_back, put in for `back`), with the acts
-- themselves: done by the agent alone, for real, and judged by nobody. `drawn` says that a person was to look at one
-- afterwards and has not.
SELECT back.agent_id, act.name, act.tier, EXISTS (
    SELECT FROM approvals_approval a WHERE a.run_id = act.run_id AND a.seq = act.seq AND a.kind = 'sample'
  ) AS drawn, floor(act.confidence::numeric(16, 12) * 100)::int, count(*), sum(act.confidence)
FROM ({back}) back
JOIN agents_step act ON act.run_id = back.run_id AND act.seq = back.compensates
WHERE act.kind = 'tool' AND act.writes AND NOT act.simulated AND act.answer IS NULL AND act.tier < %s
  AND (%s = '' OR act.name = %s)
  AND NOT EXISTS (
    SELECT FROM approvals_approval a WHERE a.run_id = act.run_id AND a.seq = act.seq
    AND a.kind = ANY(%s) AND a.state = ANY(%s))
GROUP BY 1, 2, 3, 4, 5
"""


@dataclass(frozen=True, slots=True)
class Undone:
    """So many acts of one agent with one tool at one tier, in the hundredth `place` of confidence (None: nobody said
    how sure), with the sum of what was said (None likewise)."""

    agent: UUID
    tool: str
    tier: int
    drawn: bool
    place: int | None
    of: int
    said: float | None


def find(agents: Sequence[UUID], *, since: datetime, tool: str = "", latest: int | None = None) -> list[Undone]:
    """What people had taken back of these agents since then; of the `latest` alone, where that is said."""
    if not agents:
        return []
    steps = outcomes.taking_back().filter(agent_id__in=agents, created_at__gte=since).order_by("-created_at")
    back, given = steps.values_list("agent_id", "run_id", "compensates")[:latest].query.sql_with_params()
    alone: list[Any] = [outcomes.MANUAL, tool, tool, [*outcomes.JUDGING], [*Approval.DECIDED]]
    with connection.cursor() as cursor:
        cursor.execute(FIND.format(back=back), [*given, *alone])
        return [Undone(*row) for row in cursor.fetchall()]
