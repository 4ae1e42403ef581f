"""Entries of a recorded run as OpenTelemetry messages: `{role, parts: [{type, …}], finish_reason?}`.

Source: OpenTelemetry semantic conventions for generative AI, JSON schemas of input and output messages (1.41).
Apart from `recording`, because the engine stores this form and the nouns should not know how they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pydantic import JsonValue

from agents.runs.recorded.recording import Call, Entry, ModelStep, Said, SystemText, ToolStep

Message: TypeAlias = dict[str, JsonValue]

# The conventions' words for what providers call differently. A word not listed here is passed on as recorded.
FINISH_REASONS = {
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
}


def message(entry: Entry) -> Message:
    """One entry as one message."""
    if isinstance(entry, ToolStep):
        return {"role": "tool", "parts": [_response(entry.call.id, entry.result)]}
    if isinstance(entry, Said):
        return {"role": entry.role, "parts": list(_said(entry))}
    answer: Message = {"role": "assistant", "parts": list(_spoken(entry))}
    if entry.finish_reason is not None:
        answer["finish_reason"] = FINISH_REASONS.get(entry.finish_reason, entry.finish_reason)
    return answer


def system_message(system: SystemText | None) -> Message | None:
    """The system prompt as a message, where its words are known."""
    if system is None or system.text is None:
        return None
    return {"role": "system", "parts": [_text(system.text)]}


def _said(entry: Said) -> Iterator[JsonValue]:
    if entry.role == "tool":
        yield _response(entry.answers, entry.content)
    else:
        yield from _spoken(entry)


def _spoken(entry: Said | ModelStep) -> Iterator[JsonValue]:
    if entry.reasoning:
        yield {"type": "reasoning", "content": entry.reasoning}
    if entry.content:
        yield _text(entry.content)
    yield from map(_asked, entry.calls)


def _text(content: str) -> JsonValue:
    return {"type": "text", "content": content}


def _asked(call: Call) -> JsonValue:
    """Malformed arguments stay the text they were: the reader of a message must see what the model wrote."""
    arguments = call.raw if call.arguments is None else dict(call.arguments)
    return {"type": "tool_call", **_identified(call.id), "name": call.name, "arguments": arguments}


def _response(call_id: str | None, response: JsonValue) -> JsonValue:
    return {"type": "tool_call_response", **_identified(call_id), "response": response}


def _identified(call_id: str | None) -> dict[str, JsonValue]:
    return {} if call_id is None else {"id": call_id}
