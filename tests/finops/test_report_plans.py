"""A page of costs reads ranges of an index, however long the ledger has become."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import User
from tests import factories

pytestmark = pytest.mark.django_db

ENTRIES, DAYS = 40_000, 120
FILL = """
-- Ten agents, eight calls a run, spread evenly over the days before now; every 97th call has no price.
INSERT INTO finops_ledgerentry (id, run_id, seq, attempt, agent_id, team_id, release_id, use_case, provider, model,
    tokens_in, tokens_out, amount, kind, basis, at)
SELECT gen_random_uuid(), md5((i / 8)::text)::uuid, i %% 8, 1, a.id, a.team_id, a.release_id, a.use_case, 'openai',
    'gpt-' || i %% 5, 1000, 100, CASE WHEN i %% 97 > 0 THEN 0.00325 END,
    CASE WHEN i %% 97 > 0 THEN 'priced' ELSE 'unpriced' END, '{}',
    now() - make_interval(days => %(days)s) * (i / %(n)s::float)
FROM generate_series(0, %(n)s - 1) AS i
JOIN (SELECT *, row_number() OVER (ORDER BY slug) - 1 AS place FROM agents_agent) AS a ON a.place = i / 8 %% 10
"""


@pytest.fixture
def long_ledger(max_: User) -> None:
    for number in range(10):
        factories.agent(f"agent-{number}", of=factories.team("service" if number % 2 else "roastery"))
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"n": ENTRIES, "days": DAYS})
        cursor.execute("ANALYZE finops_ledgerentry")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def whole_reads(sql: str) -> list[str]:
    """The steps of a query's plan that read all of the ledger."""
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql.replace("%", "%%"), [])
        (found,) = cursor.fetchone()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return [
        node["Node Type"]
        for node in nodes(plan)
        if node.get("Relation Name") == "finops_ledgerentry" and node["Node Type"] == "Seq Scan"
    ]


PATHS = (
    "/costs/?range=24h",
    "/costs/?range=7d&group_by=model",
    "/costs/?range=7d&group_by=day&agent=agent-3",
    "/costs/?part=headline",
    "/costs/costs.csv?range=1h",
    "/costs/agents/agent-3/",
)


def test_no_report_reads_the_whole_ledger(client: Client, max_: User, long_ledger: None) -> None:
    for who in (max_, factories.person("mona", "manager")):  # of one team, and of every team
        client.force_login(who)
        for path in PATHS:
            with CaptureQueriesContext(connection) as asked:
                assert client.get(path).status_code == 200
            about = [query["sql"] for query in asked if 'FROM "finops_ledgerentry"' in query["sql"]]
            assert about, path
            assert {sql: whole_reads(sql) for sql in about} == {sql: [] for sql in about}
