"""The canonical form of an entry: what it is, and that nothing but a change of the entry changes it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from django.db import connection
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents.audit import canonical, log
from agents.models import AuditEntry, User
from tests.agents.forging import form

pytestmark = pytest.mark.django_db

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


def test_it_is_this(olga: User) -> None:
    """Defined once: a change of these bytes makes every seal of every installation wrong."""
    entry = AuditEntry.objects.create(
        at=datetime(2025, 11, 21, 9, 31, 10, 2000, tzinfo=UTC),
        by_name="olga",
        verb="run.pause_asked",
        subject_kind="run",
        subject_id="0d6f6f1c9a20",
        subject_name="Früh\u2028 \U0001f600",
        reason='He said "no"\n',
        detail={"b": 0.1, "a": [1, -0.0, 1e300, 2**53], "#": None, "é": "\x7f"},
    )
    number, xid = entry.pk, AuditEntry.objects.get(pk=entry.pk).xid
    assert form(entry).decode() == (
        '{"at":"2025-11-21T09:31:10.002000Z","by":null,"by_name":"olga","detail":{"##":null,"a":[1,{"#":"0.0"},{"#":"1'
        + "0" * 300
        + '"},{"#":"9007199254740992"}],"b":{"#":"0.1"},"é":"\x7f"},"id":"'
        + f'{number}","outcome":"done","reason":"He said \\"no\\"\\n","request_id":null,"subject_id":"0d6f6f1c9a20",'
        f'"subject_kind":"run","subject_name":"Früh\u2028 \U0001f600","team":null,"v":"cockpit-audit/v1",'
        f'"verb":"run.pause_asked","xid":"{xid}"}}'
    )


def said(value: Any) -> Any:
    """What a form keeps of a value, once more and from Python's side."""
    if isinstance(value, dict):
        return {f"#{key}" if key.startswith("#") else key: said(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [said(inner) for inner in value]
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    number = Decimal(repr(value))
    return {"#": format(number if number else abs(number), "f")}  # PostgreSQL knows no -0


@tried(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    detail=st.dictionaries(WORDS, JSON, max_size=4),
    reason=WORDS,
    at=st.datetimes(timezones=st.timezones()).filter(lambda at: 1970 <= at.year <= 9998),
)
@example(
    {"\U0001f600": 1, "\ue000": 2, "#text": "x", "n": [10**30, -(10**16), 5e-324]}, "\x1f\b\x7f", datetime.now(UTC)
)
def test_it_is_the_same_however_it_is_read(olga: User, detail: dict[str, Any], reason: str, at: datetime) -> None:
    entry = log.record("act", about=olga, by=olga, reason=reason, request_id=uuid7())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE agents_auditentry SET at = %s, detail = %s WHERE id = %s", [at, json.dumps(detail), entry.pk]
        )
    first = form(entry)
    fields = canonical.read(first)
    assert first == rfc8785.dumps(fields)
    assert fields["at"] == f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    assert (fields["reason"], fields["by"], fields["team"]) == (reason, str(olga.pk), None)
    assert fields["detail"] == said(detail)
    for setting in ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'SQL, DMY'", "extra_float_digits = -15"):
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL {setting}")
        assert form(entry) == first, setting
    assert restored(entry) == first


def restored(entry: AuditEntry) -> bytes:
    """Dumped as pg_dump does, and read back."""
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY (SELECT * FROM agents_auditentry WHERE id = {entry.pk}) TO STDOUT") as out:
            dump = b"".join(bytes(part) for part in out)
        cursor.execute("DELETE FROM agents_auditentry WHERE id = %s", [entry.pk])
        with cursor.copy("COPY agents_auditentry FROM STDIN") as back:
            back.write(dump)
    return form(entry)


def test_a_detail_too_deep_for_a_program_is_kept_as_text(olga: User) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    detail = canonical.read(form(log.record("act", about=olga, by=olga, deep=deep)))["detail"]
    assert json.loads(detail["#text"]) == {"deep": deep}


@pytest.mark.parametrize("at", ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'294276-12-31'"])
def test_a_time_that_is_none_of_ours_has_a_form_too(olga: User, at: str) -> None:
    entry = log.record("act", about=olga, by=olga)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(f"UPDATE agents_auditentry SET at = {at} WHERE id = %s", [entry.pk])
    assert canonical.read(form(entry))["at"] != canonical.read(form(log.record("act", about=olga, by=olga)))["at"]
