"""How many tokens a text is worth when nobody counted: for calls that were sent but never answered.

Apart from the providers because the engine needs it too, for a call whose driver died. Always marked `estimated`.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from agents.contracts import Json, Usage

BYTES_PER_TOKEN = 4
"""English prose and JSON come to about four bytes a token with the tokenizers in use; other scripts have more bytes a
character and more tokens too, so bytes hold better than characters."""

TOKENS_PER_SECOND = 40
"""How fast a model is taken to write while nobody hears it: what a call cut off after that long may be charged for."""


def of_text(text: str) -> int:
    """Tokens of a text; at least one where there is any text."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def of_json(value: Any) -> int:
    """Tokens of a value as it goes over the wire."""
    return of_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def of_messages(messages: Iterable[Json]) -> int:
    """Tokens of a conversation in OpenTelemetry form: what its parts say, not how we wrap them."""
    return sum(_of_part(part) for message in messages for part in message.get("parts", ()))


def _of_part(part: Json) -> int:
    said = {key: value for key, value in part.items() if key not in {"type", "id"}}
    return of_text(said["content"]) if isinstance(said.get("content"), str) and len(said) == 1 else of_json(said)


def of_request(
    messages: Sequence[Json], tools: Sequence[Json] = (), *, seconds: float = 0.0, most: int | None = None
) -> Usage:
    """What a call that was sent and never answered may be charged for: all of its input, and the output a model may
    have written in the `seconds` it was left alone, at `most` what the request allowed."""
    written = int(seconds * TOKENS_PER_SECOND)
    offered = [{key: tool.get(key) for key in ("name", "description", "schema")} for tool in tools]
    return Usage(
        input=of_messages(messages) + (of_json(offered) if offered else 0),
        output=written if most is None else min(written, most),
        estimated=True,
    )
