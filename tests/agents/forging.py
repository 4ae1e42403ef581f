"""What somebody who owns the database may do to its log, and what `audit` says of it."""

import io
from dataclasses import dataclass
from itertools import pairwise

from django.core.management import CommandError, call_command
from django.db import connection, transaction

from agents.audit import canonical
from agents.audit.merkle import leaf_hash
from agents.audit.seals import GENESIS, chained
from agents.models import AuditEntry, AuditLeaf, AuditSeal


def by_force(statement: str, *values: object) -> None:
    """As a superuser who switches triggers off."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, values)
        assert cursor.rowcount


@dataclass
class Verdict:
    """What the command said."""

    told: str
    complaints: str
    is_intact: bool


def audit(*words: str) -> Verdict:
    told, complaints = io.StringIO(), io.StringIO()
    try:
        call_command("audit", *words, stdout=told, stderr=complaints)
    except CommandError as error:
        return Verdict(told.getvalue(), f"{complaints.getvalue()}{error}\n", False)
    return Verdict(told.getvalue(), complaints.getvalue(), True)


def complaints(*words: str) -> list[str]:
    verdict = audit("verify", *words)
    assert not verdict.is_intact
    assert "Everything is as it was sealed" not in verdict.told
    return verdict.complaints.splitlines()[:-1]


def named(entry: AuditEntry) -> str:
    return f"entry {entry.pk} ({entry.at:%Y-%m-%dT%H:%M:%S.%fZ}, {entry.verb} by olga)"


COPY = """
    INSERT INTO agents_auditentry
        (id, at, by_id, by_name, verb, outcome, subject_kind, subject_id, subject_name, reason, detail, xid)
    SELECT {id}, {at}, by_id, by_name, 'act.new', outcome, subject_kind, subject_id, subject_name, 'new', detail, {xid}
    FROM agents_auditentry WHERE id = %s
"""


def truncate(size: int) -> None:
    """Cut off everything behind a seal, as if it had never been."""
    entries = list(AuditLeaf.objects.filter(seq__gt=size).values_list("entry_id", flat=True))
    by_force("DELETE FROM agents_auditseal WHERE size > %s", size)
    by_force("DELETE FROM agents_auditleaf WHERE seq > %s", size)
    by_force("DELETE FROM agents_auditentry WHERE id = ANY(%s)", entries)


def form(entry: AuditEntry) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {canonical.COLUMNS} FROM agents_auditentry e WHERE id = %s", [entry.pk])
        return canonical.body(cursor.fetchone())


def batch_of(entry: AuditEntry) -> tuple[int, int]:
    """The first and last place under the same seal."""
    seq = AuditLeaf.objects.get(entry=entry).seq
    sizes = [0, *AuditSeal.objects.order_by("number").values_list("size", flat=True)]
    return next((low + 1, high) for low, high in pairwise(sizes) if low < seq <= high)


def reseal(entry: AuditEntry, **changes: str) -> None:
    """Alter an entry, and its sealed copy and digest with it."""
    for name, value in changes.items():
        by_force(f"UPDATE agents_auditentry SET {name} = %s WHERE id = %s", value, entry.pk)
    body = form(entry)
    by_force("UPDATE agents_auditleaf SET body = %s, leaf = %s WHERE entry_id = %s", body, leaf_hash(body), entry.pk)


def rechain() -> None:
    """Write the chain anew over all places."""
    chain = GENESIS
    for leaf in AuditLeaf.objects.order_by("seq"):
        chain = chained(chain, bytes(leaf.leaf))
        by_force("UPDATE agents_auditleaf SET chain = %s WHERE seq = %s", chain, leaf.seq)
