"""How much stands, waits and is under way at this moment, in a handful of rows: what `/metrics` shows as gauges.

Apart from the fleet page's figures because nobody in particular asks: everything is counted, and every statement must
stay cheap beside a million runs. So each one starts from what has not ended, through a partial index, and none reads
steps but those of runs that are driven right now, or wait for capacity.
"""

from typing import Any, NamedTuple

from django.db import connection

MOST_AGENTS = 200
"""Only so many agents are named: a series for each of ten thousand would drown whoever stores them."""

ALIVE = "15 seconds"

STANDING = """
-- Runs that have not ended. Those of frozen agents are told apart: no number of workers would drive them. Who waits for
-- capacity looks for it every second, which is no new wait: as in `fleet.ROOM_SINCE`.
SELECT r.queue, r.state, r.waits, r.agent_id IN (SELECT id FROM agents_agent WHERE frozen_at IS NOT NULL), count(*),
    extract(epoch FROM now() - min(CASE WHEN r.waits = 'capacity' THEN COALESCE((
        SELECT GREATEST(s.created_at, (SELECT max(t.finished_at) FROM agents_stepattempt t
            WHERE t.run_id = s.run_id AND t.seq = s.seq))
        FROM agents_step s WHERE s.run_id = r.id AND s.state = 'intended' AND s.due_at IS NOT NULL
        ORDER BY s.seq LIMIT 1), r.changed_at) ELSE r.changed_at END)),
    count(*) FILTER (WHERE r.state IN ('running', 'compensating') AND r.lease_until < now())
FROM agents_run r WHERE r.state NOT IN ('completed', 'failed', 'cancelled') GROUP BY 1, 2, 3, 4
"""

BUSIEST = """
-- The agents with the most unfinished runs, how many in which state; and how many agents have any. Two looks at one
-- index: keeping the states of all agents until the busiest are known takes three times as long.
WITH busiest AS (
    SELECT agent_id, count(*) AS runs, count(*) OVER () AS busy FROM agents_run
    WHERE state NOT IN ('completed', 'failed', 'cancelled')
    GROUP BY agent_id ORDER BY runs DESC, agent_id LIMIT %(most)s
)
SELECT a.slug, r.state, count(*), b.busy
FROM busiest b JOIN agents_agent a ON a.id = b.agent_id CROSS JOIN LATERAL (
    SELECT state FROM agents_run
    WHERE agent_id = b.agent_id AND state NOT IN ('completed', 'failed', 'cancelled') OFFSET 0
) r GROUP BY a.slug, r.state, b.busy
"""

IN_FLIGHT = """
-- Model calls under way. One look-up for each driven run: OFFSET keeps the planner from reading every open step
-- instead, most of which wait for people.
SELECT s.provider, s.model, count(*), extract(epoch FROM now() - min(s.started_at))
FROM agents_run r CROSS JOIN LATERAL (
    SELECT provider, model, started_at FROM agents_step
    WHERE run_id = r.id AND state IN ('held', 'intended', 'in_doubt') AND state = 'intended' AND kind = 'model' OFFSET 0
) s WHERE r.state IN ('running', 'compensating') GROUP BY 1, 2
"""

PROCESSES = """
SELECT kind, queues, count(*), sum(driving), sum(slots) FROM agents_worker
WHERE seen_at > now() - %(alive)s::interval GROUP BY 1, 2
"""

LATENESS = """
-- Seconds: since a tick was last seen, since figures were last counted, that the first timer is overdue.
SELECT (SELECT extract(epoch FROM now() - max(seen_at)) FROM agents_worker WHERE kind = 'tick'),
    (SELECT extract(epoch FROM now() - moved_at) FROM agents_watermark WHERE name = 'agent_minutes'),
    (SELECT extract(epoch FROM now() - min(wake_at)) FROM agents_run WHERE state = 'waiting' AND wake_at <= now())
"""

JOBS = "SELECT name, extract(epoch FROM now() - ran_at), late_s, took_s, failures FROM agents_tickjob ORDER BY name"


class Standing(NamedTuple):
    """Runs alike in queue class, state, what they wait for and whether their agent is frozen. Ages in seconds."""

    queue: str
    state: str
    waits: str
    is_frozen: bool
    number: int
    oldest: float
    driverless: int


class Busy(NamedTuple):
    """Runs of one agent in one state, and how many agents have unfinished runs at all."""

    agent: str
    state: str
    number: int
    agents: int


class Flight(NamedTuple):
    """Calls of one model that are under way, and the age of the oldest in seconds."""

    provider: str
    model: str
    number: int
    oldest: float


class Alive(NamedTuple):
    """Living processes of one kind that take the same queues: how many, runs they hold, runs they can hold."""

    kind: str
    queues: str
    number: int
    driving: int
    slots: int


class Lateness(NamedTuple):
    """In seconds; None where there was never a tick or a rollup, or where no timer is overdue."""

    tick: float | None
    figures: float | None
    timer: float | None


class JobDone(NamedTuple):
    """A job of the tick: seconds since it was last done, how late it was then, how long it took, failures ever."""

    name: str
    age: float
    late: float
    took: float
    failures: int


def standing() -> list[Standing]:
    """Every run that has not ended."""
    return [Standing(*row) for row in _rows(STANDING)]


def busiest() -> list[Busy]:
    """The agents with the most unfinished runs."""
    return [Busy(*row) for row in _rows(BUSIEST, most=MOST_AGENTS)]


def in_flight() -> list[Flight]:
    """What models are asked right now."""
    return [Flight(*row) for row in _rows(IN_FLIGHT)]


def processes() -> list[Alive]:
    """Workers and ticks that showed a sign of life lately."""
    return [Alive(*row) for row in _rows(PROCESSES, alive=ALIVE)]


def lateness() -> Lateness:
    """How far the clock is behind."""
    return Lateness(*_rows(LATENESS)[0])


def jobs() -> list[JobDone]:
    """What the tick has done, by name."""
    return [JobDone(*row) for row in _rows(JOBS)]


def _rows(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
