"""Recorded runs made by hand, as small as what a test needs; and the real ones, which may lie beside the project."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.runs.recorded.reading import read
from agents.runs.recorded.recording import Fault, Recording

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "recorded"
needs_shared = pytest.mark.skipif(not (SHARED / "runs").is_dir(), reason=f"no recorded runs at {SHARED}")


def said(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def used(**figures: int | None) -> dict[str, int | None]:
    return {"input_tokens": 10, "output_tokens": 2, **figures}


def call(at: int, answered: int | None = None, **more: Any) -> dict[str, Any]:
    defaults = {"id": "call_1", "name": "find_parcel", "args": {"number": 7}, "requestor": "assistant", "ok": True}
    return {**defaults, "result": "in transit", "message_i": at, "result_message_i": answered, **more}


def run(**changes: Any) -> dict[str, Any]:
    """A small run as JSON: a greeting, a question, two calls in one message, and an answer."""
    messages = [
        said("assistant", "Hello!", cost_usd=0.0),
        said("user", "Where are my two parcels?", usage=used(), cost_usd=0.5),
        said("assistant", None, usage=used(input_tokens=20), tool_call_ids=["call_1", "call_1"], cost_usd=0.25),
        said("tool", "in transit", tool_call_id="call_1"),
        said("tool", "Error: no such parcel", tool_call_id="call_1"),
        said("assistant", "One is on its way.", usage=used(cache_read_input_tokens=0), finish_reason="end_turn"),
    ]
    calls = [call(2, 3), call(2, 4, args={"number": 8}, result="Error: no such parcel", ok=False)]
    return {
        "schema": "agent-run/1",
        "run_id": "shop/1/0/0",
        "source": {"dataset": "shop"},
        "agent": {"name": "Parcel clerk", "implementation": "tool-calling"},
        "domain": "shop",
        "model": "modest-1",
        "model_source": "recorded",
        "task": {"id": "1", "trial": 0, "objective": "Find out where the parcels are."},
        "messages": [{"i": number, **each} for number, each in enumerate(messages)],
        "tool_calls": calls,
        "usage": {"input_tokens": 30, "output_tokens": 4, "cache_read_input_tokens": 0, "model_calls": 2},
        "cost": {"agent_usd": 0.25},
        "flags": ["made_by_hand"],
        **changes,
    }


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def written(folder: Path, *lines: dict[str, Any] | str, name: str = "runs.jsonl") -> Path:
    file = folder / name
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def recordings(*paths: Path) -> list[Recording]:
    return [each for each in read(paths) if isinstance(each, Recording)]


def faults(*paths: Path) -> list[Fault]:
    return [each for each in read(paths) if isinstance(each, Fault)]


def only(folder: Path, **changes: Any) -> Recording:
    (recording,) = recordings(written(folder, run(**changes)))
    return recording


def shape(recording: Recording) -> list[tuple[str, int]]:
    return [(type(entry).__name__, entry.message) for entry in recording.entries]


def shared_lines() -> Iterator[dict[str, Any]]:
    """The real runs as JSON."""
    for file in sorted((SHARED / "runs").glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            yield from map(json.loads, lines)
