"""What the database itself remembers of every write to runs and steps, in the order of the writes.

A look between two moves sees only where things are; the record sees how they came there, and what people had asked for
at that moment.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

TABLE = """
CREATE UNLOGGED TABLE engine_record (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    noun text NOT NULL, run_id uuid NOT NULL, before jsonb, after jsonb NOT NULL,
    asked text, is_frozen bool, token bigint, controls bigint, tier int
)
"""

FUNCTION = """
CREATE FUNCTION engine_record() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := to_jsonb(NEW);
    run uuid := new_row ->> CASE TG_TABLE_NAME WHEN 'agents_run' THEN 'id' ELSE 'run_id' END;
BEGIN
    INSERT INTO engine_record (noun, run_id, before, after, asked, is_frozen, token, controls, tier)
    SELECT TG_TABLE_NAME, run, old_row, new_row, r.asked, a.frozen_at IS NOT NULL, r.lease_token,
        (SELECT count(*) FROM agents_control c WHERE c.run_id = r.id OR c.agent_id = a.id),
        (SELECT max(o.value::int) FROM agents_override o
         WHERE o.agent_id = a.id AND (o.run_id = r.id OR o.run_id IS NULL) AND o.ended_at IS NULL
           AND o.parameter = 'tiers.' || (new_row ->> 'name'))
    FROM agents_run r JOIN agents_agent a ON a.id = r.agent_id WHERE r.id = run;
    RETURN NULL;
END $$
"""

TRIGGERS = [
    f"CREATE TRIGGER engine_record AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION engine_record()"
    for table in ("agents_run", "agents_step")
]

END = ["DROP FUNCTION engine_record CASCADE", "DROP TABLE engine_record"]

READ = """
SELECT id, noun, run_id, before, after, at, xid, asked, is_frozen, token, controls, tier FROM engine_record
WHERE id > %s ORDER BY id
"""


@dataclass(frozen=True)
class Write:
    """One row written: as it was, as it is, when, in which transaction, and what was asked of the run by then. `tier`:
    what people have made of its tool's for a time."""

    id: int
    noun: str
    run_id: UUID
    before: dict[str, Any] | None
    after: dict[str, Any]
    at: datetime
    xid: int
    asked: str
    is_frozen: bool
    token: int
    controls: int
    tier: int | None


def begin() -> None:
    """Remember from now on."""
    with connection.cursor() as cursor:
        for statement in (TABLE, FUNCTION, *TRIGGERS):
            cursor.execute(statement)


def end() -> None:
    """Remember no longer."""
    with connection.cursor() as cursor:
        for statement in END:
            cursor.execute(statement)


def mark() -> int:
    """This place in the record."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(max(id), 0) FROM engine_record")
        found: int = cursor.fetchone()[0]
        return found


def since(place: int) -> list[Write]:
    """What was written since, in order."""
    with connection.cursor() as cursor:
        cursor.execute(READ, [place])
        rows = cursor.fetchall()
    return [
        Write(number, noun, run, before and json.loads(before), json.loads(after), *rest)
        for number, noun, run, before, after, *rest in rows
    ]


def by_transaction(writes: list[Write]) -> Iterator[Write]:
    """Writes to steps, each transaction's folded into one per step: nobody else sees what is between."""
    folded: dict[tuple[int, UUID, int], Write] = {}
    for one in writes:
        if one.noun != "agents_step":
            continue
        key = (one.xid, one.run_id, one.after["seq"])
        first = folded.get(key)
        folded[key] = Write(**{**vars(one), "before": first.before}) if first else one
    yield from folded.values()
