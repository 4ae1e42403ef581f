"""Conversations on their way to a provider and back: OpenTelemetry messages <-> those of `pydantic_ai`.

What we store is the OpenTelemetry form; the library's own form lives only as long as one call. Imported by `providers`
alone, so that the library is not loaded before it is needed.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import ToolDefinition

from agents.contracts import Json

LONGEST_NAME = 64


class Names:
    """Names of tools as providers allow them: letters, digits, `_` and `-`, at most 64. No two of ours become one."""

    def __init__(self, tools: Iterable[str]) -> None:
        self._theirs: dict[str, str] = {}
        self._ours: dict[str, str] = {}
        for name in sorted(tools):
            self._add(name)

    def theirs(self, name: str) -> str:
        """What a provider is told. A tool that was called earlier but is no longer offered gets a name as well."""
        return self._theirs.get(name) or self._add(name)

    def ours(self, name: str) -> str:
        """What a provider meant; a name that was never offered stays as it came."""
        return self._ours.get(name, name)

    def _add(self, name: str) -> str:
        plain = wire = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME] or "_"
        number = 1
        while wire in self._ours:
            number += 1
            wire = f"{plain[: LONGEST_NAME - 4]}_{number}"
        self._theirs[name], self._ours[wire] = wire, name
        return wire


def definitions(tools: Sequence[Json], names: Names) -> list[ToolDefinition]:
    """The tools as the library wants them."""
    return [
        ToolDefinition(
            name=names.theirs(tool["name"]),
            description=tool.get("description") or None,
            parameters_json_schema=tool.get("schema") or {"type": "object", "properties": {}},
        )
        for tool in tools
    ]


def outgoing(messages: Sequence[Json], names: Names) -> list[ModelMessage]:
    """A stored conversation as the library wants it."""
    converted: list[ModelMessage] = []
    called: dict[str, str] = {}
    for message in messages:
        parts = message.get("parts", ())
        if message.get("role") == "assistant":
            called |= {str(part.get("id")): part["name"] for part in parts if part.get("type") == "tool_call"}
            converted.append(ModelResponse(parts=list(_spoken(parts, names))))
        else:
            converted.append(ModelRequest(parts=list(_told(str(message.get("role")), parts, names, called))))
    return converted


def incoming(response: ModelResponse, names: Names) -> Json:
    """An answer as an OpenTelemetry message. Arguments that are not a JSON object stay the text they were."""
    parts: list[Json] = []
    for part in response.parts:
        if isinstance(part, ThinkingPart):
            parts.append({"type": "reasoning", "content": part.content})
        elif isinstance(part, TextPart):
            parts.append({"type": "text", "content": part.content})
        elif isinstance(part, ToolCallPart):
            name = names.ours(part.tool_name)
            parts.append(
                {"type": "tool_call", "id": part.tool_call_id, "name": name, "arguments": arguments(part.args)}
            )
    if not parts and (refusal := (response.provider_details or {}).get("refusal")):
        parts.append({"type": "text", "content": refusal})
    has_called = any(part["type"] == "tool_call" for part in parts)
    reason = response.finish_reason or ("tool_call" if has_called else "stop")
    return {"role": "assistant", "parts": parts, "finish_reason": reason}


def arguments(said: Any) -> Json | str:
    """Arguments as data, or the raw text where it is not a JSON object (RFC 8259: NaN and Infinity are not JSON)."""
    if isinstance(said, dict):
        return said
    text = said or "{}"
    try:
        read = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return str(text)
    return read if isinstance(read, dict) else str(text)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _spoken(parts: Iterable[Json], names: Names) -> Iterator[ModelResponsePart]:
    """What a model said before. Its reasoning stays with us: providers refuse another one's, and none needs it back."""
    for part in parts:
        if part.get("type") == "text" and part.get("content"):
            yield TextPart(part["content"])
        elif part.get("type") == "tool_call":
            said = part.get("arguments")
            # Some servers parse the arguments of earlier calls and fail on what is not JSON.
            whole = said if isinstance(said, dict) else {"INVALID_JSON": said} if said else {}
            yield ToolCallPart(names.theirs(part["name"]), whole, tool_call_id=str(part.get("id")))


def _told(role: str, parts: Iterable[Json], names: Names, called: dict[str, str]) -> Iterator[ModelRequestPart]:
    for part in parts:
        if part.get("type") == "tool_call_response":
            call_id = str(part.get("id"))
            name = part.get("name") or called.get(call_id, "unknown")
            response = part.get("response", part.get("result"))
            yield ToolReturnPart(names.theirs(name), _as_text(response), tool_call_id=call_id)
            continue
        content = part["content"] if part.get("type") == "text" else _as_text(part)
        yield SystemPromptPart(content) if role == "system" else UserPromptPart(content)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
