"""What nobody drives is rung again, and what dead processes held is released. Losing every message in Redis loses no
work.

Called by the tick every two seconds; any number of ticks may run side by side (`SKIP LOCKED`).
"""

from collections.abc import Sequence

from psycopg.rows import TupleRow

from agents import signals
from agents.models import Run
from agents.runs import courier, holders, hotpath

MOST_LOST = 50_000

WAKE = """
-- Timers that are due.
UPDATE agents_run SET state = 'queued', changed_at = now(), wake_at = NULL, waiting_for = '', waits = '', rings = 0,
    rung_at = now()
WHERE id IN (SELECT id FROM agents_run WHERE state = 'waiting' AND wake_at <= now()
             ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING id, queue
"""

RING = """
-- Queued without a driver, or running with a dead lease: ring, and wait twice as long before the next ring. A laden
-- queue still holds the messages of most: each that comes twice keeps a worker from those that wait behind it.
UPDATE agents_run SET rung_at = now(), rings = LEAST(rings + 1, 20)
WHERE id IN (
    SELECT r.id FROM agents_run r JOIN agents_agent a ON a.id = r.agent_id
    WHERE (a.frozen_at IS NULL OR r.asked <> '')
      AND (r.state = 'queued'
           OR (r.state IN ('running', 'compensating') AND (r.lease_until IS NULL OR r.lease_until < now())))
      AND GREATEST(r.rung_at, r.changed_at, CASE WHEN r.state <> 'queued' THEN r.lease_until END)
          < now() - make_interval(secs => LEAST(%(patience)s * power(2, r.rings)
              * CASE WHEN r.state = 'queued' AND r.queue = ANY(%(laden)s) THEN 16 ELSE 1 END, 300)
              * (r.state = 'queued' OR r.rings > 0)::int)
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
    return _ring(hotpath.rows(RELEASE, {"dead": dead})) if dead else 0


def ring_again() -> int:
    """Where Redis has lost its messages, ring for everything at once: nobody need wait for the sweep's patience, which
    has grown where many runs were waiting for few workers. How many were rung."""
    if not courier.has_lost_everything():
        return 0
    return _ring(hotpath.rows(RING, {"limit": MOST_LOST, "patience": 0, "laden": []}))


def sweep(*, patience: float = 4.0, limit: int = 500) -> int:
    """Wake what is due and ring what nobody drives; how many were rung. `patience` in seconds before the first ring."""
    woken = hotpath.rows(WAKE, {"limit": limit})
    laden = courier.laden()
    if laden is None:
        return 0  # nobody would hear; what was woken is rung by a later sweep
    return _ring(woken + hotpath.rows(RING, {"limit": limit, "patience": patience, "laden": laden}))


def _ring(ready: Sequence[TupleRow]) -> int:
    for run_id, queue in ready:
        signals.run_ready.send(Run, run_id=run_id, queue=queue)
    return len(ready)
