"""Below which confidence a person looks before a tool writes: which of several thresholds holds, and in words which.

A tool has one of its own, or it is held to that of all tools. Who raises the one of all for a time wants an agent to be
more careful with whatever it does: then of both the stricter holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
ALL = "thresholds.confidence"
"""The parameter that holds for every tool without a threshold of its own."""

RAISED = "raised_confidence"
"""Where a bundle in force keeps that of all tools while somebody has made it stricter than its release does."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """What holds for a tool: the value, and the parameter that says so. `is_raised` where that is the one of all tools,
    made stricter for a time; `own` is then the tool's, which holds again afterwards (None: it has none)."""

    value: float
    parameter: str
    is_raised: bool = False
    own: float | None = None

    @property
    def words(self) -> str:
        """Which one it is, as the end of a sentence."""
        if self.parameter != ALL:
            return "the tool's own threshold"
        raised = ", raised for a time" if self.is_raised else ""
        stricter = f" and stricter than the tool's own, {self.own:g}" if self.own is not None else ""
        return f"the threshold of all tools{raised}{stricter}"


def parameter(tool: str) -> str:
    """Where the threshold of a tool stands in a release; of all of them, where `tool` is empty."""
    return f"thresholds.{tool}" if tool else ALL


def held(bundle: Json, tool: str = "") -> Threshold | None:
    """The threshold of a tool, or of all without one of their own; None where there is none."""
    written = bundle.get("thresholds") or {}
    own, every, raised = written.get(tool), written.get("confidence"), bundle.get(RAISED)
    if own is None:
        return None if every is None else Threshold(float(every), ALL, raised is not None)
    if raised is not None and raised > own:
        return Threshold(float(raised), ALL, True, float(own))
    return Threshold(float(own), parameter(tool))


def value(bundle: Json, tool: str = "") -> float | None:
    """Its value alone."""
    found = held(bundle, tool)
    return found.value if found else None


def facts(bundle: Json, tool: str) -> Json:
    """What gates are told of it; nothing where there is none."""
    if not bundle.get("thresholds"):
        return {}
    found = held(bundle, tool)
    return {"confidence_threshold": found.value, "threshold_words": found.words} if found else {}


def raised(bundle: Json, changes: Mapping[str, Any]) -> Json:
    """What of these changes makes that of all tools stricter than this release does, as a bundle in force keeps it. One
    that is milder takes nothing from tools that may do less alone, and gives nothing to those that may do more."""
    given, every = changes.get(ALL), (bundle.get("thresholds") or {}).get("confidence")
    return {} if given is None or (every is not None and given <= every) else {RAISED: float(given)}
