"""The sealer: gives entries their order, chains them, and signs what there is. Runs in the tick, behind the appends.

Appending takes no lock and never waits for this. The order is that of transaction ids, and only what lies below the
oldest transaction still running is sealed, so an entry that commits late is neither skipped nor put in between.
Transaction ids are a cluster's own: in a restored database, entries from elsewhere are sealed first, then it goes on.
"""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from agents import errors, signals
from agents.audit import canonical, checkpoints, signing
from agents.audit.merkle import Frontier, leaf_hash
from agents.audit.models import AuditSeal
from agents.audit.seals import GENESIS, Seal, chained, say

BATCH = 2000
MOST_S = 1.0
ALARM_S = 60.0
"""An entry that is older than this and not sealed is an alarm: the sealer stands still, or a transaction does."""
MOST_COUNTED = 100_000
_LOCK = 0x7365616C  # "seal": any number of ticks, one of them seals

_NOW = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_snapshot_xmin(now.s)::text::bigint,
           pg_snapshot_xmax(now.s)::text::bigint, clock_timestamp()
    FROM (SELECT pg_current_snapshot() AS s) AS now
"""
# Of transactions that are over, below the oldest one still running.
_FINISHED = "e.xid < %(end)s::text::xid8"
# Of transactions that this cluster has not begun: restored from another one.
_FOREIGN = "e.xid >= %(end)s::text::xid8"
_ENTRIES = """
    SELECT {columns} FROM agents_auditentry e
    WHERE (e.xid, e.id) > (%(after_xid)s::text::xid8, %(after_id)s) AND {which}
      AND NOT EXISTS (SELECT FROM agents_auditleaf WHERE entry_id = e.id)
    ORDER BY e.xid, e.id LIMIT %(limit)s
"""
# Else all that waits for a seal is read and sorted for each batch, which of many is most of the work.
_IN_ORDER_OF_THE_INDEX = "SET LOCAL enable_sort = off"
_COPY = "COPY agents_auditleaf (seq, entry_id, leaf, chain, body) FROM STDIN"


@dataclass(frozen=True, slots=True)
class Now:
    """What a snapshot says: every transaction below `oldest` is over, none from `next_xid` on has begun."""

    cluster: str
    oldest: int
    next_xid: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries to be sealed together, and where the next batch goes on."""

    rows: list[tuple[Any, ...]]
    reach: str
    after_xid: int
    after_id: int


def seal(*, most_s: float = MOST_S) -> int:
    """Seal what is ready, batch by batch for about so many seconds; how many entries were."""
    key = signing.private()
    until = time.monotonic() + most_s
    sealed, goes_on = 0, True
    while goes_on:
        entries, goes_on = _seal_batch(key)
        sealed += entries
        goes_on = goes_on and time.monotonic() < until
    checkpoints.publish()
    return sealed


@transaction.atomic
def _seal_batch(key: Ed25519PrivateKey) -> tuple[int, bool]:
    """One batch and its seal; how many entries, and whether there is more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0, False
        cursor.execute(_NOW)
        now = Now(*cursor.fetchone())
        row = AuditSeal.objects.order_by("-number").first()
        last = Seal.of_row(row) if row else None
        batch = _adopted(cursor, last, now) or _finished(cursor, last, now)
        if batch is None:
            return 0, False
        made = _write(cursor, batch, last, now, key)
    signals.audit_sealed.send(AuditSeal, size=made.size)
    return len(batch.rows), batch.reach != AuditSeal.Reach.COMPLETE


def _adopted(cursor: Any, last: Seal | None, now: Now) -> Batch | None:
    """Entries whose transactions belong to another cluster; None when this one has no such entries left."""
    goes_on = last is not None and last.cluster == now.cluster
    if goes_on and last is not None and last.reach != AuditSeal.Reach.ADOPTING:
        return None
    after = (last.after_xid, last.after_id) if goes_on and last else (0, 0)
    rows = _read(cursor, _FOREIGN, after, now.next_xid)
    if len(rows) == BATCH:
        return Batch(rows, AuditSeal.Reach.ADOPTING, *_place(rows[-1]))
    if not rows and last is None:
        return None
    return Batch(rows, AuditSeal.Reach.PARTIAL, 0, 0)  # a seal even without entries: it says which cluster goes on


def _finished(cursor: Any, last: Seal | None, now: Now) -> Batch | None:
    """Entries of this cluster's own transactions that are over; None when all of them are sealed."""
    after = (last.after_xid, last.after_id) if last else (0, 0)
    rows = _read(cursor, _FINISHED, after, now.oldest)
    if len(rows) == BATCH:
        return Batch(rows, AuditSeal.Reach.PARTIAL, *_place(rows[-1]))
    return Batch(rows, AuditSeal.Reach.COMPLETE, now.oldest, 0) if rows else None


def _read(cursor: Any, which: str, after: tuple[int, int], end: int) -> list[tuple[Any, ...]]:
    statement = _ENTRIES.format(columns=canonical.COLUMNS, which=which)
    cursor.execute(_IN_ORDER_OF_THE_INDEX)
    cursor.execute(statement, {"after_xid": after[0], "after_id": after[1], "end": end, "limit": BATCH})
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _place(row: tuple[Any, ...]) -> tuple[int, int]:
    fields = dict(zip(canonical.FIELDS, row, strict=True))
    return int(fields["xid"]), int(fields["id"])


def _write(cursor: Any, batch: Batch, last: Seal | None, now: Now, key: Ed25519PrivateKey) -> Seal:
    """The leaves, the chain and the tree with them, and the signed statement about all of it."""
    tree = last.tree if last else Frontier()
    if tree is None:
        raise errors.Conflict("The newest seal of the audit log was changed: nothing is sealed behind it.")
    chain = last.chain if last else GENESIS
    with cursor.copy(_COPY) as copy:
        for row in batch.rows:
            body = canonical.body(row)
            leaf = leaf_hash(body)
            chain = chained(chain, leaf)
            tree.add(leaf)
            copy.write_row((tree.size, int(row[0]), leaf, chain, body))
    unsigned = Seal(
        number=last.number + 1 if last else 1,
        size=tree.size,
        reach=str(batch.reach),
        sealed_at=say(now.at),
        cluster=now.cluster,
        after_xid=batch.after_xid,
        after_id=batch.after_id,
        root=tree.root,
        chain=chain,
        key=key.public_key().public_bytes_raw(),
        frontier=tree.packed,
    )
    made = replace(unsigned, signature=key.sign(unsigned.text))
    values = {name: getattr(made, name) for name in Seal.__slots__} | {"sealed_at": now.at}
    AuditSeal.objects.create(**values)
    return made


# --- how far it has come ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Standing:
    """How far the sealer has come. Ages are in seconds; None where there is nothing to be old. `unsealed` is counted
    up to `MOST_COUNTED`."""

    sealed: int
    unsealed: int
    oldest_unsealed_age_s: float | None
    last_sealed_at: datetime | None

    @property
    def is_late(self) -> bool:
        """Whether an entry waits for its seal for too long."""
        return self.oldest_unsealed_age_s is not None and self.oldest_unsealed_age_s > ALARM_S


_WAITING = """
    SELECT count(*), extract(epoch FROM clock_timestamp() - min(waiting.at))::double precision FROM (
        SELECT e.at FROM agents_auditentry e
        WHERE {which} AND NOT EXISTS (SELECT FROM agents_auditleaf WHERE entry_id = e.id)
        ORDER BY {order} LIMIT %(limit)s
    ) AS waiting
"""
_BEHIND_SEAL = {
    "which": "(e.xid, e.id) > (%(xid)s::text::xid8, %(id)s) AND e.xid < pg_snapshot_xmax(pg_current_snapshot())",
    "order": "e.xid, e.id",
}
# Before the first seal in this cluster, transaction ids say nothing about what is sealed.
_BEHIND_LEAF = {"which": "e.id > (SELECT coalesce(max(entry_id), 0) FROM agents_auditleaf)", "order": "e.id"}


def standing() -> Standing:
    """Cheap however long the log is: it reads what is not sealed, by an index."""
    last = AuditSeal.objects.order_by("-number").first()
    with connection.cursor() as cursor:
        cursor.execute(_NOW)
        is_settled = last and last.cluster == cursor.fetchone()[0] and last.reach != AuditSeal.Reach.ADOPTING
        given = {"xid": last.after_xid, "id": last.after_id} if last else {}
        statement = _WAITING.format(**(_BEHIND_SEAL if is_settled else _BEHIND_LEAF))
        cursor.execute(statement, {**given, "limit": MOST_COUNTED})
        unsealed, age = cursor.fetchone()
    sealed_at = last.sealed_at if last else None
    return Standing(last.size if last else 0, unsealed, max(age, 0.0) if unsealed else None, sealed_at)
