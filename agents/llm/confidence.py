"""How sure a model says it is: a field added to the schema of write tools, and taken out again before anyone looks.

Apart from the providers because it is the same for all of them. What is missing or not a number between 0 and 1 is
unknown, never 0 and never 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.contracts import UNKNOWN, Confidence, Json, Source

FIELD = "_confidence"
_SCHEMA = {
    "type": "number",
    "minimum": 0,
    "maximum": 1,
    "description": "How sure you are that this call is right, from 0 (a guess) to 1 (certain). Be honest: when you "
    "are not sure, a person looks before anything happens.",
}


def asked_of(tools: Sequence[Json]) -> list[Json]:
    """The tools as a model is offered them: those that write ask for its confidence too."""
    return [_asking(tool) if _is_asked(tool) else tool for tool in tools]


def taken_from(message: Json, tools: Sequence[Json]) -> tuple[Json, tuple[Confidence, ...]]:
    """A reply without what was added for us, and the confidence in each of its calls, in their order."""
    asked = {tool["name"] for tool in tools if _is_asked(tool)}
    parts, confidences = [], []
    for part in message.get("parts", ()):
        if part.get("type") == "tool_call":
            arguments, confidence = part.get("arguments"), UNKNOWN
            if part.get("name") in asked and isinstance(arguments, Mapping):
                confidence = _said(arguments.get(FIELD))
                part = {**part, "arguments": {key: value for key, value in arguments.items() if key != FIELD}}
            confidences.append(confidence)
        parts.append(part)
    return {**message, "parts": parts}, tuple(confidences)


def _is_asked(tool: Json) -> bool:
    """A tool that has a field of this name of its own keeps it."""
    return bool(tool.get("writes")) and FIELD not in (tool.get("schema") or {}).get("properties", {})


def _asking(tool: Json) -> Json:
    schema = tool.get("schema") or {}
    return {
        **tool,
        "schema": {
            **schema,
            "type": "object",
            "properties": {**schema.get("properties", {}), FIELD: _SCHEMA},
            "required": [*schema.get("required", ()), FIELD],
        },
    }


def _said(value: Any) -> Confidence:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return UNKNOWN
    return Confidence(float(value), Source.SELF_REPORTED)
