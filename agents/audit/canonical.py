"""The canonical form of an audit entry: the bytes that are sealed. Defined here once, and never changed.

An entry's form is one JSON object by RFC 8785 (sorted keys, no spaces, UTF-8). It is made of what the database says of
the row and of nothing that a session, a restore or a time zone may change: the time is UTC to the microsecond, ids are
strings. A different form needs another version tag, and this one stays for what was sealed with it.

Numbers in `detail` that JSON readers understand differently (fractions, exponents, beyond 2^53) are kept as PostgreSQL
prints them, `{"#": "0.10"}`; so that nothing else looks like that, a key that begins with # is given another one.
A detail with so many parts that reading it might be too deep for a program is kept as its text, `{"#text": "…"}`.
"""

import json
from typing import Any

import rfc8785

VERSION = "cockpit-audit/v1"

FIELDS = (
    "id", "at", "by", "by_name", "verb", "outcome", "subject_kind", "subject_id", "subject_name", "team", "reason",
    "request_id", "xid", "detail",
)  # fmt: skip

COLUMNS = """
    e.id::text,
    CASE WHEN isfinite(e.at) AND e.at >= '0001-01-01 00:00+00'
         THEN to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         ELSE extract(epoch FROM e.at)::text END,
    e.by_id::text, e.by_name, e.verb, e.outcome, e.subject_kind, e.subject_id, e.subject_name, e.team_id::text,
    e.reason, e.request_id::text, e.xid::text, e.detail::text
"""
"""What to select of `agents_auditentry e` for `body`, in the order of `FIELDS`."""

_SAFE = 2**53 - 1
_PARTS = 200


def body(row: tuple[Any, ...]) -> bytes:
    """The canonical bytes of a row selected as `COLUMNS`."""
    fields: dict[str, Any] = dict(zip(FIELDS, row, strict=True))
    detail = fields["detail"]
    fields["v"] = VERSION
    fields["detail"] = _detail(detail)
    if detail.isascii():  # then both sort keys alike, and this one is four times as fast
        return _ENCODER.encode(fields).encode()
    return rfc8785.dumps(fields)


def read(sealed: bytes) -> dict[str, Any]:
    """The fields of a form; empty for bytes that are none."""
    try:
        found = json.loads(sealed)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _detail(text: str) -> Any:
    if text.count("{") + text.count("[") > _PARTS:
        return {"#text": text}
    return (_ESCAPING if "#" in text else _DECODER).decode(text)


def _whole(digits: str) -> Any:
    return int(digits) if len(digits) < 18 and abs(int(digits)) <= _SAFE else _other(digits)


def _other(digits: str) -> dict[str, str]:
    return {"#": digits}


def _keyed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {f"#{key}" if key.startswith("#") else key: value for key, value in pairs}


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_other)
_ESCAPING = json.JSONDecoder(parse_int=_whole, parse_float=_other, object_pairs_hook=_keyed)
