"""A recording as the JSON that is stored and replayed, and the digest that names it.

Apart from `recording`, because this shape outlives the code: a row written today is replayed by later versions, so it
holds OpenTelemetry messages and plain words, not our classes. Where the file stood is not part of it: the same run
read from two places is one recording.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from agents.contracts import Json
from agents.runs.recorded.messages import message
from agents.runs.recorded.recording import Entry, ModelStep, Recording, Said, Usage

SAID, MODEL, TOOL = "said", "model", "tool"
AS_THEY_ARE = (
    "run_id",
    "dataset",
    "domain",
    "model",
    "model_source",
    "user_simulator_model",
    "task",
    "trial",
    "started_at",
    "ended_at",
    "duration_s",
)


def content(recording: Recording) -> Json:
    """Everything recorded of this run but the agent's own bundle, which its release keeps."""
    return {
        **{name: getattr(recording, name) for name in AS_THEY_ARE},
        "objective": recording.objective if recording.has_objective else None,
        "response_models": list(recording.response_models),
        "source": dict(recording.source),
        "usage": _usage(recording.usage),
        "user_usage": _usage(recording.user_usage),
        "cost_usd": _dollars(recording.cost_usd),
        "user_cost_usd": _dollars(recording.user_cost_usd),
        "outcome": dict(recording.outcome),
        "flags": list(recording.flags),
        "entries": [_entry(entry) for entry in recording.entries],
    }


def digest(value: Json) -> str:
    """SHA-256 of the JSON with sorted keys: equal content has equal digests, whatever order it came in."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(entry: Entry) -> Json:
    said = message(entry)
    if isinstance(entry, Said):
        spent = {"usage": _usage(entry.usage), "cost_usd": _dollars(entry.cost_usd)}
        return {"kind": SAID, "message": entry.message, "at": entry.at, "said": said, **spent}
    if isinstance(entry, ModelStep):
        spent = {"usage": _usage(entry.usage), "cost_usd": _dollars(entry.cost_usd)}
        answer = {"model": entry.model, "response_id": entry.response_id, "finish_reason": entry.finish_reason}
        return {"kind": MODEL, "message": entry.message, "at": entry.at, "said": said, **answer, **spent}
    step: dict[str, Any] = asdict(entry)
    asked = step.pop("call")
    call = {"name": asked["name"], "call_id": asked["id"], "arguments": asked["arguments"], "malformed": asked["raw"]}
    return {"kind": TOOL, **step, **call}


def _usage(usage: Usage | None) -> dict[str, int] | None:
    """Only what was recorded: a figure that is absent here is unknown."""
    return None if usage is None else {name: figure for name, figure in asdict(usage).items() if figure is not None}


def _dollars(amount: Decimal | None) -> str | None:
    """As text, since JSON numbers would lose the digits."""
    return None if amount is None else str(amount)
