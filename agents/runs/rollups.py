"""Minute rollups per agent, derived in batches behind a watermark. Pages about the fleet read these, never raw rows.

The watermark is a transaction id: only rows whose transaction lies below the oldest one still running are counted,
so a slow transaction is never skipped and nothing is counted twice. A replayed step counts in the minute it was
replayed.
"""

from django.db import connection, transaction

from agents.models import RUN_BOUNDS

_LOCK = 0x636F636B  # "cock": any number of ticks, one of them rolls up

_BOUNDS = "ARRAY[{}]::double precision[]".format(",".join(str(bound) for bound in RUN_BOUNDS))
_COUNTS = "ARRAY[{}]".format(
    ",".join(f"count(*) FILTER (WHERE bucket = {index})" for index in range(len(RUN_BOUNDS) + 1))
)


def _sum_of(column: str) -> str:
    return f"{column} = ARRAY(SELECT a + b FROM unnest(agents_agentminute.{column}, EXCLUDED.{column}) AS u(a, b))"


_ZEROS = "ARRAY[{}]".format(",".join("0" for _ in range(len(RUN_BOUNDS) + 1)))

STEPS = f"""
WITH closed AS (
    SELECT *, date_trunc('minute', GREATEST(finished_at, created_at)) AS minute,
           width_bucket(GREATEST(extract(epoch FROM finished_at - started_at), 0)::double precision, {_BOUNDS}) AS
               bucket
    FROM agents_step
    WHERE xid >= %(from)s AND xid < %(to)s AND finished_at IS NOT NULL
)
INSERT INTO agents_agentminute (agent_id, minute, runs_completed, runs_failed, runs_cancelled, steps, model_calls,
    tool_calls,
    step_errors, refusals, holds, tokens_in, tokens_out, cost, unpriced, confidence_sum, confidence_count, run_seconds,
    step_seconds)
SELECT agent_id, minute, 0, 0, 0, count(*), count(*) FILTER (WHERE kind = 'model'), count(*) FILTER (WHERE kind =
    'tool'),
    count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'refused'),
    count(*) FILTER (WHERE answer IS NOT NULL), COALESCE(sum(tokens_in), 0), COALESCE(sum(tokens_out), 0),
    COALESCE(sum(cost), 0), count(*) FILTER (WHERE cost_kind = 'unpriced'), COALESCE(sum(confidence), 0),
    count(confidence), {_ZEROS}, {_COUNTS}
FROM closed GROUP BY agent_id, minute
ON CONFLICT (agent_id, minute) DO UPDATE SET
    steps = agents_agentminute.steps + EXCLUDED.steps,
    model_calls = agents_agentminute.model_calls + EXCLUDED.model_calls,
    tool_calls = agents_agentminute.tool_calls + EXCLUDED.tool_calls,
    step_errors = agents_agentminute.step_errors + EXCLUDED.step_errors,
    refusals = agents_agentminute.refusals + EXCLUDED.refusals,
    holds = agents_agentminute.holds + EXCLUDED.holds,
    tokens_in = agents_agentminute.tokens_in + EXCLUDED.tokens_in,
    tokens_out = agents_agentminute.tokens_out + EXCLUDED.tokens_out,
    cost = agents_agentminute.cost + EXCLUDED.cost,
    unpriced = agents_agentminute.unpriced + EXCLUDED.unpriced,
    confidence_sum = agents_agentminute.confidence_sum + EXCLUDED.confidence_sum,
    confidence_count = agents_agentminute.confidence_count + EXCLUDED.confidence_count,
    {_sum_of("step_seconds")}
"""

RUNS = f"""
WITH ended AS (
    SELECT *, date_trunc('minute', finished_at) AS minute,
           width_bucket(extract(epoch FROM finished_at - COALESCE(started_at, finished_at))::double precision,
               {_BOUNDS}) AS bucket
    FROM agents_run
    WHERE xid >= %(from)s::text::xid8 AND xid < %(to)s::text::xid8 AND finished_at IS NOT NULL
)
INSERT INTO agents_agentminute (agent_id, minute, runs_completed, runs_failed, runs_cancelled, steps, model_calls,
    tool_calls,
    step_errors, refusals, holds, tokens_in, tokens_out, cost, unpriced, confidence_sum, confidence_count, run_seconds,
    step_seconds)
SELECT agent_id, minute, count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'cancelled'), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {_COUNTS}, {_ZEROS}
FROM ended GROUP BY agent_id, minute
ON CONFLICT (agent_id, minute) DO UPDATE SET
    runs_completed = agents_agentminute.runs_completed + EXCLUDED.runs_completed,
    runs_failed = agents_agentminute.runs_failed + EXCLUDED.runs_failed,
    runs_cancelled = agents_agentminute.runs_cancelled + EXCLUDED.runs_cancelled,
    {_sum_of("run_seconds")}
"""


@transaction.atomic
def roll_up() -> int:
    """Count what has closed since the watermark; how many agent minutes changed. One process at a time, others pass."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT xid FROM agents_watermark WHERE name = 'agent_minutes'")
        row = cursor.fetchone()
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        span = {"from": row[0] if row else 0, "to": cursor.fetchone()[0]}
        changed = 0
        for statement in (STEPS, RUNS):
            cursor.execute(statement, span)
            changed += cursor.rowcount
        cursor.execute(
            "INSERT INTO agents_watermark (name, xid, moved_at) VALUES ('agent_minutes', %(to)s, now()) "
            "ON CONFLICT (name) DO UPDATE SET xid = EXCLUDED.xid, moved_at = now()",
            span,
        )
    return changed
