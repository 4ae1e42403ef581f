"""How much somebody may write with one act. A text is kept with each request that it is about, in the audit log and in
what is sent: one long one, given to ten thousand, would be ten thousand long ones."""

import json
from typing import Annotated, Any

from pydantic import Field

from agents import errors

LONGEST = 2_000
"""Characters of a reason, a note or a question back; the forms end there, too."""
LARGEST = 65_536
"""Bytes of JSON that a person may post as what came of an act."""

Reason = Annotated[str, Field(max_length=LONGEST)]


def require_short(text: str, field: str = "reason") -> None:
    """Refuse a text that is too long."""
    if len(text) > LONGEST:
        raise errors.Invalid(f"`{field}` takes up to {LONGEST:,} characters; these are {len(text):,}.", field=field)


def require_small(value: Any, field: str = "outcome") -> None:
    """Refuse JSON that is too large."""
    size = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    if size > LARGEST:
        raise errors.Invalid(f"`{field}` takes up to {LARGEST:,} bytes of JSON; these are {size:,}.", field=field)
