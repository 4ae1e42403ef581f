"""The statements of the engine's hot path, and the connections they run on.

Apart from the ORM because each checkpoint is one statement, prepared on the server, on a pooled raw connection:
measured at twice the rate of the same work through Django's cursor. Every statement that writes for a driver carries
the driver's fencing token; none of them touches a row when another driver holds the run.
"""

import atexit
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool
from psycopg_pool.base import AttemptWithBackoff

from agents import errors

LEASE_SECONDS = 9

SILENCE = f"{LEASE_SECONDS}s"
"""How long a driver may say nothing between BEGIN and COMMIT. One that stands still there (stopped, or its machine
suspended) keeps its run locked against whoever would take it over, until the server ends its transaction."""

CLAIM = """
-- Take a queued run, or one whose driver is dead, unless its agent is frozen: then only to obey what people asked of a
-- driver that died. A take-over counts as a death until a step is stored.
UPDATE agents_run r SET
    state = CASE WHEN r.ending IS NULL THEN 'running' ELSE 'compensating' END,
    lease_token = r.lease_token + 1, lease_until = now() + make_interval(secs => %(lease)s),
    lease_holder = %(holder)s, started_at = COALESCE(r.started_at, now()), rings = 0, wake_at = NULL, waiting_for = '',
    waits = '', deaths = r.deaths + CASE WHEN r.state <> 'queued' AND r.lease_until IS NOT NULL THEN 1 ELSE 0 END,
    changed_at = CASE WHEN r.state = 'queued' THEN now() ELSE r.changed_at END
FROM agents_agent a
WHERE r.id = %(run)s AND a.id = r.agent_id AND (a.frozen_at IS NULL OR r.asked <> '')
  AND (r.state = 'queued'
       OR (r.state IN ('running', 'compensating') AND (r.lease_until IS NULL OR r.lease_until < now())))
RETURNING r.id, r.lease_token, r.asked, r.deaths, r.steps_done, r.agent_id, a.slug, r.team_id, a.use_case, r.release_id,
    r.environment, r.objective, r.input, r.queue, r.started_at, r.deadline_at, r.tokens_in, r.tokens_out, r.cost,
    r.tuning + a.tuning, r.ending, r.cost_below, r.program_digest, r.parent_id, r.parent_seq, r.depth
"""

RENEW = """
-- Keep what is ours, in one statement for the whole process; what does not come back belongs to someone else.
-- Says how far each has come, too; a driver that got somewhere is forgiven the deaths before it.
UPDATE agents_run r SET lease_until = now() + make_interval(secs => %(lease)s),
    deaths = CASE WHEN mine.steps > r.steps_done THEN 0 ELSE r.deaths END, steps_done = GREATEST(r.steps_done,
        mine.steps)
FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(steps)s::int[]) AS mine(id, token, steps)
WHERE r.id = mine.id AND r.lease_token = mine.token AND r.state IN ('running', 'compensating')
RETURNING r.id, r.asked
"""

PATIENCE = "SELECT set_config('lock_timeout', %(patience)s, true)"

SIGN_OF_LIFE = """
INSERT INTO agents_worker (name, kind, host, pid, driving, slots, queues, started_at, seen_at)
VALUES (%(name)s, %(kind)s, %(host)s, %(pid)s, %(driving)s, %(slots)s, %(queues)s, now(), now())
ON CONFLICT (name) DO UPDATE SET seen_at = now(), driving = EXCLUDED.driving
"""

HISTORY = """
SELECT s.seq, s.turn, s.kind, s.name, s.state, s.attempt, s.call_id, s.error_class, s.error, s.answer,
    s.started_at IS NOT NULL, s.due_at, s.compensates, s.tier, p.input, p.output
FROM agents_step s LEFT JOIN agents_steppayload p ON p.run_id = s.run_id AND p.seq = s.seq
WHERE s.run_id = %(run)s ORDER BY s.seq
"""

_STORE = """
-- A step that neither acted outside nor is priced: stored, counted and answered with what people want, in one commit.
-- The run is locked, not written: its count of steps follows with the next lease renewal, wait or end.
WITH run AS (
    SELECT asked, agent_id, tuning FROM agents_run
    WHERE id = %(run)s AND lease_token = %(token)s AND state IN ('running', 'compensating') FOR NO KEY UPDATE
), step AS (
    INSERT INTO agents_step (run_id, seq, turn, agent_id, kind, name, state, tier, call_id, says, started_at,
        finished_at, error_class, error, in_force)
    SELECT %(run)s, %(seq)s, %(turn)s, agent_id, %(kind)s, %(name)s, %(state)s, %(tier)s, %(call_id)s, %(says)s,
        %(started_at)s, %(finished_at)s, %(error_class)s, %(error)s, %(in_force)s::jsonb
    FROM run
), payload AS (
    INSERT INTO agents_steppayload (run_id, seq, input, output)
    SELECT %(run)s, %(seq)s, %(input)s::jsonb, %(output)s::jsonb FROM run
)"""
_NEWS = "SELECT run.asked, a.frozen_at IS NOT NULL, run.tuning + a.tuning"
_FROM = "FROM run JOIN agents_agent a ON a.id = run.agent_id"

CHECKPOINT = "\n".join((_STORE, _NEWS, _FROM))

_ENDED = """, ended AS (
    -- Nothing comes after this step: the run is completed with it, unless people want something else first.
    UPDATE agents_run r SET state = 'completed', finished_at = now(), changed_at = now(), lease_until = NULL,
        lease_holder = '', lease_token = r.lease_token + 1, waiting_for = '', waits = '', wake_at = NULL,
        result = %(result)s::jsonb, steps_done = %(steps_done)s, xid = pg_current_xact_id()
    FROM run JOIN agents_agent a ON a.id = run.agent_id
    WHERE r.id = %(run)s AND run.asked = '' AND a.frozen_at IS NULL AND run.tuning + a.tuning = %(tuned)s
    RETURNING r.id
)"""

CHECKPOINT_LAST = "\n".join((_STORE, _ENDED, _NEWS, ", EXISTS (SELECT 1 FROM ended)", _FROM))

GUARD = """
-- Before anything else is written for a run: it is still ours, and what people want of it. Locks it to the commit.
SELECT r.asked, a.frozen_at IS NOT NULL, r.tuning + a.tuning,
    set_config('idle_in_transaction_session_timeout', %(silence)s, true)
FROM agents_run r JOIN agents_agent a ON a.id = r.agent_id
WHERE r.id = %(run)s AND r.lease_token = %(token)s AND r.state IN ('running', 'compensating') FOR NO KEY UPDATE OF r
"""

INTEND = """
-- A step that is not closed yet, under the lock of its run. Nothing is written where people want something else first,
-- or have answered the step without the driver's knowing, if whoever writes minds; whether it was comes back last.
WITH run AS (
    SELECT r.asked, a.frozen_at IS NOT NULL AS frozen, r.tuning + a.tuning AS tuning,
        NOT %(minds)s OR (r.asked = '' AND a.frozen_at IS NULL AND r.tuning + a.tuning = %(tuned)s) AS is_due
    FROM agents_run r JOIN agents_agent a ON a.id = r.agent_id
    WHERE r.id = %(run)s AND r.lease_token = %(token)s AND r.state IN ('running', 'compensating')
    FOR NO KEY UPDATE OF r
), step AS (
    INSERT INTO agents_step (run_id, seq, turn, agent_id, kind, name, state, attempt, says, tier, writes, call_id,
        idempotency_key, confidence, confidence_source, gate, gate_reason, in_force, started_at, simulated, provider,
        model, compensates)
    SELECT %(run)s, %(seq)s, %(turn)s, %(agent)s, %(kind)s, %(name)s, %(state)s, %(attempt)s, %(says)s, %(tier)s,
        %(writes)s, %(call_id)s, %(key)s, %(confidence)s, %(confidence_source)s, %(gate)s, %(gate_reason)s,
        %(in_force)s::jsonb, %(started_at)s, %(simulated)s, %(provider)s, %(model)s, %(compensates)s
    FROM run WHERE is_due
    ON CONFLICT (run_id, seq) DO UPDATE SET
        state = EXCLUDED.state, attempt = EXCLUDED.attempt, idempotency_key = EXCLUDED.idempotency_key,
        says = EXCLUDED.says, started_at = EXCLUDED.started_at, in_force = EXCLUDED.in_force, due_at = NULL,
        tier = EXCLUDED.tier, gate = COALESCE(NULLIF(EXCLUDED.gate, ''), agents_step.gate),
        gate_reason = COALESCE(NULLIF(EXCLUDED.gate_reason, ''), agents_step.gate_reason),
        xid = pg_current_xact_id()::text::bigint
        WHERE %(knows)s OR agents_step.answer IS NULL -- stopped by somebody since this driver looked
    RETURNING run_id
), payload AS (
    INSERT INTO agents_steppayload (run_id, seq, input) SELECT %(run)s, %(seq)s, %(input)s::jsonb FROM step
    ON CONFLICT (run_id, seq) DO UPDATE SET input = EXCLUDED.input
)
SELECT asked, frozen, tuning, set_config('idle_in_transaction_session_timeout', %(silence)s, true),
    EXISTS (SELECT 1 FROM step) FROM run
"""

PIN = """
-- What drives a run that has no history yet, where its source is kept already.
UPDATE agents_run SET program_digest = %(digest)s
WHERE id = %(run)s AND lease_token = %(token)s AND state IN ('running', 'compensating')
  AND (%(is_ours)s OR EXISTS (SELECT 1 FROM agents_programsource WHERE digest = %(digest)s)) RETURNING id
"""

OUTCOME = """
-- What became of an intended or held step; adds its tokens and money to the run.
WITH run AS (
    UPDATE agents_run SET steps_done = %(steps_done)s, deaths = 0, tokens_in = tokens_in + %(add_in)s,
        tokens_out = tokens_out + %(add_out)s, cost = cost + %(add_cost)s, unpriced = unpriced + %(add_unpriced)s
    WHERE id = %(run)s AND lease_token = %(token)s AND state IN ('running', 'compensating')
    RETURNING asked, agent_id, tuning
), step AS (
    UPDATE agents_step SET state = %(state)s::text, finished_at = %(finished_at)s, error_class = %(error_class)s,
        error = %(error)s, gate = COALESCE(%(gate)s, gate), gate_reason = COALESCE(%(gate_reason)s, gate_reason),
        answer = CASE WHEN %(state)s::text = 'in_doubt' THEN NULL ELSE answer END, -- the attempt used it up
        confidence = COALESCE(%(confidence)s, confidence),
        confidence_source = COALESCE(%(confidence_source)s, confidence_source),
        provider = COALESCE(%(provider)s, provider), model = COALESCE(%(model)s, model),
        started_at = COALESCE(%(started_at)s, started_at),
        tokens_in = %(tokens_in)s, tokens_out = %(tokens_out)s, cache_read = %(cache_read)s,
        cache_write = %(cache_write)s, cost = %(cost)s, cost_kind = %(cost_kind)s, due_at = NULL,
        xid = pg_current_xact_id()::text::bigint
    WHERE run_id = %(run)s AND seq = %(seq)s AND EXISTS (SELECT 1 FROM run)
), payload AS (
    INSERT INTO agents_steppayload (run_id, seq, output) SELECT %(run)s, %(seq)s, %(output)s::jsonb FROM run
    ON CONFLICT (run_id, seq) DO UPDATE SET output = EXCLUDED.output
)
SELECT run.asked, a.frozen_at IS NOT NULL, run.tuning + a.tuning,
    set_config('idle_in_transaction_session_timeout', %(silence)s, true)
FROM run JOIN agents_agent a ON a.id = run.agent_id
"""

LET_GO = """
-- Hand the run back (queued), let it wait (waiting), or leave it as it is for a frozen agent.
UPDATE agents_run SET state = %(state)s::text, lease_until = NULL, lease_holder = '', lease_token = lease_token + 1,
    waiting_for = %(waiting_for)s, waits = %(waits)s, wake_at = %(wake_at)s, steps_done = %(steps_done)s,
    changed_at = CASE WHEN state = %(state)s::text THEN changed_at ELSE now() END
WHERE id = %(run)s AND lease_token = %(token)s AND state IN ('running', 'compensating') RETURNING id
"""

END = """
UPDATE agents_run SET state = %(state)s, finished_at = now(), changed_at = now(), lease_until = NULL, lease_holder = '',
    lease_token = lease_token + 1, asked = '', waiting_for = '', waits = '', wake_at = NULL, result = %(result)s::jsonb,
    failure_class = %(failure_class)s, failure = %(failure)s, steps_done = %(steps_done)s, xid = pg_current_xact_id()
WHERE id = %(run)s AND lease_token = %(token)s AND state IN ('running', 'compensating') RETURNING id
"""

OTHERS_WAIT = "SELECT EXISTS (SELECT 1 FROM agents_run WHERE state = 'queued' AND queue = %(queue)s)"

# While a database is away, a pool tries to connect after pauses that double: back after half a minute, it would not be
# noticed for another half. Every second instead, here and in Django's own pools.
AttemptWithBackoff.DELAY_BACKOFF = 1.0

_lock = threading.Lock()
_pool: ConnectionPool[psycopg.Connection[TupleRow]] | None = None
_pool_of = 0


def pool() -> ConnectionPool[psycopg.Connection[TupleRow]]:
    """This process's connections for the hot path; made anew after a fork."""
    global _pool, _pool_of
    mine = os.getpid()
    if _pool is None or _pool_of != mine:
        with _lock:
            if _pool is None or _pool_of != mine:
                params = connection.get_connection_params()
                for unwanted in ("pool", "cursor_factory", "context", "prepare_threshold", "application_name"):
                    params.pop(unwanted, None)
                # Every statement here finds its rows by key: planning it anew each time costs a fifth and wins nothing.
                options = f"{params.get('options') or ''} -c plan_cache_mode=force_generic_plan -c jit=off".strip()
                params |= {"autocommit": True, "prepare_threshold": 0, "application_name": "cockpit engine"}
                params["options"] = options
                size = settings.ENGINE_POOL
                _pool = ConnectionPool(kwargs=params, min_size=1, max_size=size, timeout=20, open=True, name="engine")
                _pool_of = mine
    return _pool


def close() -> None:
    """Give the connections back, e.g. before a test database is dropped."""
    global _pool
    with _lock:
        if _pool is not None and _pool_of == os.getpid():
            _pool.close()
        _pool = None


# A pool left open keeps Python 3.13 from exiting: its threads can no longer end by then.
atexit.register(close)


@contextmanager
def raw() -> Iterator[psycopg.Connection[TupleRow]]:
    """A raw autocommit connection for the length of a statement or two."""
    mine = pool()
    conn = mine.getconn()
    try:
        yield conn
    finally:
        mine.putconn(conn)


def one(sql: str, params: Mapping[str, Any]) -> TupleRow | None:
    """Run one statement and commit; its first row."""
    mine = pool()
    conn = mine.getconn()
    try:
        return _cursor(conn).execute(sql, params, prepare=True).fetchone()
    finally:
        mine.putconn(conn)


_cursors: WeakKeyDictionary[psycopg.Connection[TupleRow], psycopg.Cursor[TupleRow]] = WeakKeyDictionary()


def _cursor(conn: psycopg.Connection[TupleRow]) -> psycopg.Cursor[TupleRow]:
    """One cursor a connection: making one for each statement costs as much as sending it."""
    found = _cursors.get(conn)
    if found is None:
        found = _cursors[conn] = conn.cursor()
    return found


def within(sql: str, params: Mapping[str, Any] | Sequence[Any]) -> TupleRow | None:
    """Run one statement in the transaction that Django has open; its first row. Prepared on the server like the others:
    through Django's own cursor it is parsed and planned anew each time, which took longer than doing it."""
    done = _inside(sql, params)
    return done.fetchone() if done.pgresult and done.pgresult.nfields else None


def rows_within(sql: str, params: Mapping[str, Any]) -> list[TupleRow]:
    """The same; all its rows."""
    return _inside(sql, params).fetchall()


def _inside(sql: str, params: Mapping[str, Any] | Sequence[Any]) -> psycopg.Cursor[TupleRow]:
    connection.ensure_connection()
    with connection.wrap_database_errors:
        return psycopg.Cursor(connection.connection).execute(sql, params, prepare=True)


def rows(sql: str, params: Mapping[str, Any]) -> list[TupleRow]:
    """Run one statement and commit; all its rows."""
    with raw() as conn:
        return conn.execute(sql, params, prepare=True).fetchall()


def fenced(row: TupleRow | None) -> TupleRow:
    """The row a driver's write returns, or the news that the run is no longer its own."""
    if row is None:
        raise errors.Fenced
    return row


_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_SURROGATE = re.compile("[\ud800-\udfff\x00]")


def clean(value: Any) -> Any:
    """A JSON value as PostgreSQL takes it."""
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def text(value: str, *, most: int | None = None) -> str:
    """Words that PostgreSQL takes, cut where the column ends."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)[:most]


def to_json(value: Any) -> str | None:
    """JSON text that PostgreSQL takes: models do send NUL and halves of surrogate pairs, which jsonb refuses."""
    if value is None:
        return None
    text = _encode(value)
    if "\\u0000" in text or "\\ud" in text:
        text = _encode(clean(value))
    return text


def plain(value: Any) -> Any:
    """A value as JSON gives it back: what a JSONField may hold."""
    text = to_json(value)
    return None if text is None else json.loads(text)
