"""Acts that agents did alone and that people had taken back without having judged them: no question was decided about
them, so steps are what tells of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

FIND = """
-- What people had taken back (see outcomes.BY_PEOPLE), found by the step that did it, with the act itself: done by the
-- agent alone, for real, and judged by nobody. `drawn` says that a person was to look at it afterwards and has not.
SELECT back.agent_id, act.name, act.tier, EXISTS (
    SELECT FROM approvals_approval a WHERE a.run_id = act.run_id AND a.seq = act.seq AND a.kind = 'sample'
  ) AS drawn, floor(act.confidence::numeric(16, 12) * 100)::int, count(*), sum(act.confidence)
FROM (
  SELECT s.agent_id, s.run_id, s.compensates FROM agents_step s JOIN agents_run r ON r.id = s.run_id
  WHERE s.agent_id = ANY(%(agents)s) AND s.compensates IS NOT NULL AND s.state = 'done' AND s.created_at >= %(since)s
    AND (s.answer IS NOT NULL OR r.state = 'cancelled' OR r.ending ->> 'state' = 'cancelled')
  ORDER BY s.created_at DESC LIMIT %(latest)s
) back
JOIN agents_step act ON act.run_id = back.run_id AND act.seq = back.compensates
WHERE act.kind = 'tool' AND act.writes AND NOT act.simulated AND act.answer IS NULL AND act.tier < 4
  AND (%(tool)s = '' OR act.name = %(tool)s)
  AND NOT EXISTS (
    SELECT FROM approvals_approval a WHERE a.run_id = act.run_id AND a.seq = act.seq
    AND a.kind IN ('act', 'sample') AND a.state IN ('approved', 'edited', 'rejected'))
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
    with connection.cursor() as cursor:
        cursor.execute(FIND, {"agents": list(agents), "since": since, "tool": tool, "latest": latest})
        return [Undone(*row) for row in cursor.fetchall()]
