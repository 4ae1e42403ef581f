"""A scripted pipeline: the bundle lists tools and arguments; each result is at hand for the steps after it."""

import re
from collections.abc import Sequence
from typing import Any

from agents.contracts import Assignment, Event, Finish, Turn, UseTool

_PLACE = re.compile(r"\{([^{}]+)\}")


class Pipeline:
    """`bundle.pipeline = [{tool, arguments, on_error = "stop" | "continue"}]`.

    `{objective}`, `{input.key}` and `{steps.0.key}` in arguments are replaced; a lone place keeps the value's type.
    """

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """The next stage, or the end: completed with the last result, failed where a stage failed and must not."""
        stages = assignment.bundle.get("pipeline", [])
        if history and history[-1].state != "done":
            failed = history[-1]
            if stages[len(history) - 1].get("on_error", "stop") == "stop":
                return [Finish(failure=f"step_{failed.state}", detail=f"{failed.name}: {failed.error}")]
        if len(history) == len(stages):
            return [Finish(result=history[-1].output if history else None)]
        stage = stages[len(history)]
        known = {
            "objective": assignment.objective,
            "input": assignment.input,
            "steps": [event.output for event in history],
        }
        return [UseTool(stage["tool"], {key: fill(value, known) for key, value in stage.get("arguments", {}).items()})]


def fill(value: Any, known: dict[str, Any]) -> Any:
    """Replace the places in an argument; a place that names nothing becomes empty, which the tool's schema then
    refuses."""
    if not isinstance(value, str):
        return value
    whole = _PLACE.fullmatch(value)
    if whole:
        return look_up(whole[1], known)
    return _PLACE.sub(lambda place: str(look_up(place[1], known)), value)


def look_up(path: str, known: Any) -> Any:
    """Walk `a.b.0.c` through dicts and lists; None where it leads nowhere."""
    for key in path.split("."):
        if isinstance(known, dict):
            known = known.get(key)
        elif isinstance(known, list) and key.isdigit() and int(key) < len(known):
            known = known[int(key)]
        else:
            return None
    return known
