"""What nobody drives is rung again, and what dead processes held is released. Losing every message in Redis loses no
work.

Called by the tick every two seconds; any number of ticks may run side by side (`SKIP LOCKED`).
"""

from uuid import UUID

from agents import signals
from agents.models import Run
from agents.runs import holders, hotpath

WAKE = """
-- Timers that are due.
UPDATE agents_run SET state = 'queued', changed_at = now(), wake_at = NULL, waiting_for = '', waits = '', rings = 0,
    rung_at = now()
WHERE id IN (SELECT id FROM agents_run WHERE state = 'waiting' AND wake_at <= now()
             ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING id, queue
"""

RING = """
-- Queued without a driver, or running with a dead lease: ring, and wait twice as long before the next ring.
UPDATE agents_run SET rung_at = now(), rings = LEAST(rings + 1, 20)
WHERE id IN (
    SELECT r.id FROM agents_run r JOIN agents_agent a ON a.id = r.agent_id
    WHERE (a.frozen_at IS NULL OR r.asked <> '')
      AND (r.state = 'queued'
           OR (r.state IN ('running', 'compensating') AND (r.lease_until IS NULL OR r.lease_until < now())))
      AND GREATEST(r.rung_at, r.changed_at, CASE WHEN r.state <> 'queued' THEN r.lease_until END)
          < now() - make_interval(secs => LEAST(%(patience)s * power(2, r.rings), 300) * (r.state = 'queued' OR
              r.rings > 0)::int)
    ORDER BY r.id LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED)
RETURNING id, queue
"""

HOLDERS = """
SELECT DISTINCT lease_holder FROM agents_run WHERE state IN ('running', 'compensating') AND lease_until > now()
"""

RELEASE = """
-- The leases of processes that have ended, over at once. The token stays: the next claim is what fences, and counts a
-- death, as it would have a little later.
UPDATE agents_run SET lease_until = now(), rung_at = now(), rings = LEAST(rings + 1, 20)
WHERE id IN (SELECT id FROM agents_run WHERE state IN ('running', 'compensating') AND lease_until > now()
             AND lease_holder = ANY(%(dead)s) ORDER BY id FOR UPDATE SKIP LOCKED)
RETURNING id, queue
"""


def release_dead() -> int:
    """Take the leases of processes of this machine that have certainly ended, without waiting for them to run out,
    and ring for their runs; how many there were."""
    dead = [holder for (holder,) in hotpath.rows(HOLDERS, {}) if holders.is_dead(holder)]
    released = hotpath.rows(RELEASE, {"dead": dead}) if dead else []
    for run_id, queue in released:
        signals.run_ready.send(Run, run_id=run_id, queue=queue)
    return len(released)


def sweep(*, patience: float = 4.0, limit: int = 500) -> int:
    """Wake what is due and ring what nobody drives; how many were rung. `patience` in seconds before the first ring."""
    ready: list[tuple[UUID, str]] = []
    for statement in (WAKE, RING):
        ready += hotpath.rows(statement, {"limit": limit, "patience": patience})
    for run_id, queue in ready:
        signals.run_ready.send(Run, run_id=run_id, queue=queue)
    return len(ready)
