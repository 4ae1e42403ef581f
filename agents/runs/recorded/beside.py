"""What lies beside a file of recorded runs: the system prompts and the tool lists that its runs name.

Apart from `reading`, because these are other files with other rules: they may be absent, they are read once, and a
name in a recording must never lead to a file outside the recording's own folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from agents.runs.recorded.format import RawRun, RawSystem
from agents.runs.recorded.recording import RecordedTool, SystemText

WRITE, READS = "write", frozenset({"read", "think", "generic"})
TIER_READ, TIER_UNKNOWN, TIER_WRITE = 1, 2, 3
LEVELS_UP = 3  # a domains folder is looked for beside the file and in the folders above it


def tier(tool_type: str | None) -> int:
    """Writing waits for a person; a tool whose type no list gives is watched more closely than a known read."""
    if tool_type == WRITE:
        return TIER_WRITE
    return TIER_READ if tool_type in READS else TIER_UNKNOWN


class Neighbours:
    """The files beside recorded runs, each read once. `missing` collects a sentence per file that was not there."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._prompts: dict[Path, str | None] = {}
        self._lists: dict[Path, list[dict[str, Any]]] = {}
        self._said: set[str] = set()

    def system(self, file: Path, named: RawSystem | None) -> SystemText | None:
        """The system text a run names, with its words if they are found and are the ones that were recorded."""
        if named is None:
            return None
        text = self._prompt(file.parent, named.file) if named.file else None
        if text is not None and named.sha256 and hashlib.sha256(text.encode()).hexdigest() != named.sha256:
            self._miss(f"{named.file} is not the text these runs were recorded with (another SHA-256); left out")
            text = None
        return SystemText(kind=named.kind, sha256=named.sha256, text=text)

    def tools(self, file: Path, run: RawRun) -> tuple[RecordedTool, ...]:
        """The tools the agent was offered, and after them any it called without being offered it."""
        offered, types = self._offered(_root(file.parent), run), self.types(file, run)
        called = {call.name for call in run.tool_calls if call.requestor == "assistant"}
        names = [*offered, *sorted(called - offered.keys())]
        return tuple(
            RecordedTool(
                name=name,
                tool_type=types.get(name),
                tier=tier(types.get(name)),
                is_offered=name in offered,
                **offered.get(name, {}),
            )
            for name in names
        )

    def _prompt(self, folder: Path, name: str) -> str | None:
        path = _within(folder, name)
        if path is None:
            self._miss(f"the system prompt {name} lies outside the folder of the runs and is not read")
            return None
        if path not in self._prompts:
            try:
                self._prompts[path] = path.read_bytes().decode()
            except (OSError, UnicodeDecodeError):
                self._miss(f"the system prompt {name} was not found beside the runs; it is shown as unknown")
                self._prompts[path] = None
        return self._prompts[path]

    def _offered(self, root: Path | None, run: RawRun) -> dict[str, dict[str, Any]]:
        if not run.tools_ref:
            return {}
        path = _within(root, run.tools_ref) if root else None
        if path is None or not path.is_file():
            self._miss(f"the tool list {run.tools_ref} was not found; which tools were offered is unknown")
            return {}
        return {name: detail for name, _, detail in self._entries(path)}

    def types(self, file: Path, run: RawRun) -> dict[str, str]:
        """Tool types by name from every list of the run's domain; where two differ, writing wins."""
        root = _root(file.parent)
        folder = _within(root / "domains", run.domain) if root and run.domain else None
        types: dict[str, str] = {}
        for path in sorted(folder.glob("*/tools.json")) if folder else ():
            for name, tool_type, _ in self._entries(path):
                if tool_type and types.get(name) != WRITE:
                    types[name] = tool_type
        if run.tools_ref and not types:
            self._miss(f"no list gives tool types for the domain {run.domain}: its tools count as tier {TIER_UNKNOWN}")
        return types

    def _entries(self, path: Path) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        if path not in self._lists:
            self._lists[path] = self._listed(path)
        for entry in self._lists[path]:
            detail = entry.get("function") if isinstance(entry.get("function"), dict) else entry
            if isinstance(detail, dict) and detail.get("name") and entry.get("requestor") != "user":
                yield detail["name"], entry.get("tool_type"), _described(detail)

    def _listed(self, path: Path) -> list[dict[str, Any]]:
        try:
            entries = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            self._miss(f"the tool list {path} can't be read: {error}")
            return []
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def _miss(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self.missing.append(sentence)


def _root(folder: Path) -> Path | None:
    above = [folder.resolve(), *folder.resolve().parents][:LEVELS_UP]
    return next((each for each in above if (each / "domains").is_dir()), None)


def _within(folder: Path | None, name: str) -> Path | None:
    """The named file if it lies inside the folder: `..` and absolute names in a recording lead nowhere."""
    if folder is None:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def _described(detail: Mapping[str, Any]) -> dict[str, str | dict[str, JsonValue] | None]:
    """What a list says of a tool: its description, and its JSON Schema unless the list has a signature instead."""
    parameters, description = detail.get("parameters"), detail.get("description")
    return {
        "description": description if isinstance(description, str) else None,
        "parameters": parameters if isinstance(parameters, dict) else None,
    }
