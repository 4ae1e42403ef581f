"""Minute rollups per agent and totals of all time, derived in batches behind a watermark.

Pages about the fleet read the minutes, `/metrics` the totals, neither the raw rows.

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
_ZEROS = "ARRAY[{}]".format(",".join("0" for _ in range(len(RUN_BOUNDS) + 1)))


def _sum(table: str, *columns: str) -> str:
    return ", ".join(f"{column} = {table}.{column} + EXCLUDED.{column}" for column in columns)


def _sum_each(table: str, column: str) -> str:
    return f"{column} = ARRAY(SELECT a + b FROM unnest({table}.{column}, EXCLUDED.{column}) AS u(a, b))"


STEPS = f"""
WITH closed AS (
    SELECT agent_id, kind, state, error_class, provider, model, tokens_in, tokens_out, cost, cost_kind, confidence,
           answer IS NOT NULL AS answered, date_trunc('minute', GREATEST(finished_at, created_at)) AS minute, took,
           width_bucket(took, {_BOUNDS}) AS bucket
    FROM agents_step, LATERAL
        (SELECT GREATEST(extract(epoch FROM finished_at - started_at), 0)::double precision) AS length(took)
    WHERE xid >= %(from)s AND xid < %(to)s AND finished_at IS NOT NULL
), totals AS (
    INSERT INTO agents_steptotal (kind, state, error_class, provider, model, count, tokens_in, tokens_out, cost,
        unpriced, seconds, seconds_sum)
    SELECT kind, state, error_class, provider, model, count(*), COALESCE(sum(tokens_in), 0),
        COALESCE(sum(tokens_out), 0), COALESCE(sum(cost), 0), count(*) FILTER (WHERE cost_kind = 'unpriced'),
        {_COUNTS}, sum(took)
    FROM closed GROUP BY kind, state, error_class, provider, model
    ON CONFLICT (kind, state, error_class, provider, model) DO UPDATE SET
        {_sum("agents_steptotal", "count", "tokens_in", "tokens_out", "cost", "unpriced", "seconds_sum")},
        {_sum_each("agents_steptotal", "seconds")}
)
INSERT INTO agents_agentminute (agent_id, minute, runs_completed, runs_failed, runs_cancelled, steps, model_calls,
    tool_calls, step_errors, refusals, holds, tokens_in, tokens_out, cost, unpriced, confidence_sum, confidence_count,
    run_seconds, step_seconds)
SELECT agent_id, minute, 0, 0, 0, count(*), count(*) FILTER (WHERE kind = 'model'), count(*) FILTER (WHERE kind =
    'tool'),
    count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'refused'),
    count(*) FILTER (WHERE answered), COALESCE(sum(tokens_in), 0), COALESCE(sum(tokens_out), 0),
    COALESCE(sum(cost), 0), count(*) FILTER (WHERE cost_kind = 'unpriced'), COALESCE(sum(confidence), 0),
    count(confidence), {_ZEROS}, {_COUNTS}
FROM closed GROUP BY agent_id, minute
ON CONFLICT (agent_id, minute) DO UPDATE SET
    {
    _sum(
        "agents_agentminute",
        *("steps", "model_calls", "tool_calls", "step_errors", "refusals", "holds", "tokens_in", "tokens_out"),
        *("cost", "unpriced", "confidence_sum", "confidence_count"),
    )
},
    {_sum_each("agents_agentminute", "step_seconds")}
"""

RUNS = f"""
WITH ended AS (
    SELECT agent_id, state, failure_class, date_trunc('minute', finished_at) AS minute, took,
           width_bucket(took, {_BOUNDS}) AS bucket
    FROM agents_run, LATERAL
        (SELECT GREATEST(extract(epoch FROM finished_at - started_at), 0)::double precision) AS length(took)
    WHERE xid >= %(from)s::text::xid8 AND xid < %(to)s::text::xid8 AND finished_at IS NOT NULL
), totals AS (
    INSERT INTO agents_runtotal (state, failure_class, count, seconds, seconds_sum)
    SELECT state, failure_class, count(*), {_COUNTS}, sum(took) FROM ended GROUP BY state, failure_class
    ON CONFLICT (state, failure_class) DO UPDATE SET
        {_sum("agents_runtotal", "count", "seconds_sum")}, {_sum_each("agents_runtotal", "seconds")}
)
INSERT INTO agents_agentminute (agent_id, minute, runs_completed, runs_failed, runs_cancelled, steps, model_calls,
    tool_calls, step_errors, refusals, holds, tokens_in, tokens_out, cost, unpriced, confidence_sum, confidence_count,
    run_seconds, step_seconds)
SELECT agent_id, minute, count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'cancelled'), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {_COUNTS}, {_ZEROS}
FROM ended GROUP BY agent_id, minute
ON CONFLICT (agent_id, minute) DO UPDATE SET
    {_sum("agents_agentminute", "runs_completed", "runs_failed", "runs_cancelled")},
    {_sum_each("agents_agentminute", "run_seconds")}
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
