"""The log as the database has it, read in order and in pieces, for whoever checks or exports it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from agents.audit import canonical
from agents.audit.models import AuditSeal
from agents.audit.seals import Seal
from agents.audit.verifying import Place

PIECE = 5000
_LOWEST = -(2**63)

_CLUSTER = """
    SELECT system_identifier::text, pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM pg_control_system()
"""
_PLACES = """
    SELECT l.seq, l.entry_id, l.leaf, l.chain, l.body, {columns}
    FROM agents_auditleaf l LEFT JOIN agents_auditentry e ON e.id = l.entry_id
    WHERE l.seq > %s ORDER BY l.seq LIMIT %s
"""
_UNSEALED = """
    SELECT {columns} FROM agents_auditentry e
    WHERE NOT EXISTS (SELECT FROM agents_auditleaf WHERE entry_id = e.id) ORDER BY e.xid, e.id
"""


class StoredBook:
    """Everything there was at one moment; make it by `opened`."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_CLUSTER)
            self.cluster, self.next_xid = cursor.fetchone()

    def places(self) -> Iterator[Place]:
        """By `seq`, each with the canonical form of its entry's row."""
        last = _LOWEST
        while rows := self._rows(last):
            for seq, entry_id, leaf, chain, body, *row in rows:
                form = canonical.body(tuple(row)) if row[0] is not None else None
                yield Place(seq, entry_id, bytes(leaf), bytes(chain), bytes(body), form)
            last = rows[-1][0]

    def _rows(self, after: int) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(_PLACES.format(columns=canonical.COLUMNS), [after, PIECE])
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def seals(self) -> Iterator[Seal]:
        """By `number`."""
        last = 0
        while rows := list(AuditSeal.objects.filter(number__gt=last).order_by("number")[:PIECE]):
            yield from map(Seal.of_row, rows)
            last = rows[-1].number

    def unsealed(self) -> Iterator[bytes]:
        """The forms of entries without a place, in the order they would be sealed."""
        with connection.chunked_cursor() as cursor:
            cursor.execute(_UNSEALED.format(columns=canonical.COLUMNS))
            for row in cursor:
                yield canonical.body(row)


@contextmanager
def opened() -> Iterator[StoredBook]:
    """The log as it is now: whoever appends or seals meanwhile is not seen."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield StoredBook()
