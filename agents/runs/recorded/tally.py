"""Counting a recorded run twice: from the raw JSON, and from the recording made of it.

Apart from `reading` on purpose: `expected` shares no line with the reader, so that a replay (and the reader) can be
held against what the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agents.runs.recorded.recording import Counts, Recording, Usage

TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def expected(raw: Mapping[str, Any]) -> Counts:
    """Counts straight from the JSON of one line.

    Token totals add up the assistant's messages; where none has a figure, they are the run's recorded total.
    """
    spoken = [message for message in raw["messages"] if message["role"] == "assistant"]
    metered = [message for message in spoken if message.get("usage")]
    asked = [call for call in raw["tool_calls"] if call["requestor"] == "assistant"]
    totals = raw.get("usage") or {}
    return Counts(
        model_steps=len(metered or spoken),
        tool_calls=len(asked),
        failed_tool_calls=sum(call.get("ok") is False for call in asked),
        **{
            field: total(message["usage"].get(field) for message in metered) if metered else totals.get(field)
            for field in TOKENS
        },
    )


def counted(recording: Recording) -> Counts:
    """The same counts from the entries of a recording."""
    tools = list(recording.tool_steps)
    models = list(recording.model_steps)
    usages = [step.usage for step in models if step.usage]
    return Counts(
        model_steps=len(models),
        tool_calls=len(tools),
        failed_tool_calls=sum(step.ok is False for step in tools),
        **tokens(usages or [recording.usage or Usage()]),
    )


def tokens(usages: Iterable[Usage]) -> dict[str, int | None]:
    """Each token figure added up over the usages, None where no usage has it."""
    each = list(usages)
    return {field: total(getattr(usage, field) for usage in each) for field in TOKENS}


def total(figures: Iterable[int | None]) -> int | None:
    """The sum of what is known; None when nothing is, because unknown is not zero."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
