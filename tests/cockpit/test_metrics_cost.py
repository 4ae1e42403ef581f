"""What `/metrics` costs beside much work: the planner of a filled database reads no table of work from end to end."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import Run
from tests import factories

pytestmark = pytest.mark.django_db

RUNS, UNFINISHED_EVERY, STEPS_EACH = 40_000, 100, 3
# Not the audit log: all of it is read while none of it is sealed, and its own tests see to the rest.
LARGE = {"agents_run", "agents_step", "agents_steppayload", "agents_agentminute"}
LARGE |= {"approvals_approval", "approvals_decision", "finops_ledgerentry"}

# As the first run, many times: all ended but one in a hundred, which are spread over the states.
COPY_RUNS = """
INSERT INTO agents_run ({columns})
SELECT {values} FROM agents_run r, generate_series(1, %(runs)s) AS n,
    LATERAL (SELECT CASE WHEN n %% %(every)s > 0 THEN 'completed'
        ELSE (ARRAY['queued', 'running', 'waiting', 'paused'])[1 + n / %(every)s %% 4] END) AS s(state)
WHERE r.id = %(run)s
"""
COPY_STEPS = """
INSERT INTO agents_step (run_id, seq, turn, agent_id, kind, name, state)
SELECT r.id, n, n, r.agent_id, 'model', 'llama', CASE WHEN n < %(each)s OR r.state = 'completed' THEN 'done'
    WHEN r.state = 'running' THEN 'intended' ELSE 'held' END
FROM agents_run r, generate_series(1, %(each)s) AS n
"""
COPY_QUESTIONS = """
INSERT INTO approvals_approval (id, run_id, seq, agent_id, release_id, team_id, kind, state, executed, tier, tool, says,
    preview, arguments, bound, digest, confidence_source, reasons, requested_at, due_at, closed_because, decided_at)
SELECT gen_random_uuid(), id, 1, agent_id, release_id, team_id, 'act',
    CASE WHEN state = 'waiting' THEN 'open' ELSE 'approved' END, 'not_yet', 3, 'x', 'x', '[]', '{}', '{}', 'x',
    'unknown', '[]', now(), now(), '', CASE WHEN state <> 'waiting' THEN now() END
FROM agents_run WHERE state = 'waiting' OR get_byte(uuid_send(id), 15) < 50  -- and every fifth
"""


def _copied(row: str, **instead: str) -> dict[str, str]:
    """The columns of a table for an INSERT that copies a row, but for some of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [row])
        names = [name for (name,) in cursor.fetchall()]
    values = [instead.get(name, f"r.{name}") for name in names]
    return {"columns": ", ".join(names), "values": ", ".join(values)}


@pytest.fixture
def much_work(run: Run) -> Iterator[None]:
    ended = "CASE WHEN s.state = 'completed' THEN now() END"
    columns = _copied(
        "agents_run", id="gen_random_uuid()", state="s.state", finished_at=ended, request_id="gen_random_uuid()"
    )
    with connection.cursor() as cursor:
        copies = {"runs": RUNS, "every": UNFINISHED_EVERY, "run": run.pk}
        cursor.execute(COPY_RUNS.format(**columns), copies)
        cursor.execute(COPY_STEPS, {"each": STEPS_EACH})
        cursor.execute(COPY_QUESTIONS)
        cursor.execute("ANALYZE agents_run, agents_step, approvals_approval")
        yield
        cursor.execute("SET LOCAL statement_timeout = 0")  # the page's own limit ends with its transaction: this one


def _read_whole(statement: str) -> set[str]:
    """The tables of work that a statement reads from end to end, by the planner's own choice."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    return LARGE & set(re.findall(r"Seq Scan on (\w+)", plan))


def test_no_statement_reads_a_table_of_work_from_end_to_end(much_work: None, settings: Any) -> None:
    settings.METRICS_OPEN = True
    with CaptureQueriesContext(connection) as asked:
        text = Client().get("/metrics").content.decode()
    assert 'cockpit_runs{state="running"} 100.0' in text
    assert 'cockpit_model_calls_in_flight{model="",provider=""} 100.0' in text
    assert 'cockpit_approvals_open{kind="act",team="service"} 100.0' in text
    statements = [one["sql"] for one in asked if re.match(r"\s*(--.*\n\s*)*(SELECT|WITH)\b", one["sql"])]
    assert len(statements) >= 9
    assert {statement: tables for statement in statements if (tables := _read_whole(statement))} == {}


def test_a_statement_that_does_would_be_noticed(much_work: None) -> None:
    assert _read_whole("SELECT count(*) FROM agents_run WHERE objective = ''") == {"agents_run"}
    assert _read_whole("SELECT sum(tokens_in) FROM agents_step WHERE kind = 'model'") == {"agents_step"}


def test_it_takes_as_many_statements_whatever_there_is_to_tell(run: Run, settings: Any) -> None:
    settings.METRICS_OPEN = True

    def asked() -> int:
        with CaptureQueriesContext(connection) as statements:
            Client().get("/metrics")
        return len(statements)

    before = asked()
    for _ in range(3):
        factories.step(factories.run(factories.agent()), state="intended")
    assert asked() == before
