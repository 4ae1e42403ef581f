"""What tools declare of themselves, as publishing needs to know it, and the one table of all that are declared.

Apart from the catalogue, which fills this table: a release is checked against declarations without knowing how a tool
is called. Tool modules are imported once per process: the built-in ones, those named in
AGENT_TOOL_MODULES and the workspace's.
"""

import threading
import traceback
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings

from agents import errors
from agents.contracts import Risk
from agents.registry import workspace


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a tool is, without the code that does it.

    `floor` is the lowest tier that a release may give it. `source` is where it was declared, `file:line`.
    """

    name: str
    description: str
    schema: dict[str, Any]
    tier: int
    floor: int
    writes: bool
    risk: Risk
    idempotent: bool
    compensation: str
    undoable_for: timedelta | None
    stop_window: timedelta | None
    timeout: timedelta | None
    source: str
    says_what_it_does: bool
    says_what_it_touches: bool
    result_names: frozenset[str] | None = None
    """The names in the object it returns; None when only the call can tell, empty when it returns no object."""

    @property
    def published(self) -> dict[str, Any]:
        """What a release keeps of it, and what its digest covers; durations in seconds."""
        return {
            "description": self.description,
            "schema": self.schema,
            "tier": self.tier,
            "writes": self.writes,
            "idempotent": self.idempotent,
            "compensation": self.compensation,
            "undoable_for_s": self.undoable_for.total_seconds() if self.undoable_for else None,
            "timeout_s": self.timeout.total_seconds() if self.timeout else None,
            # Only where there is one: the digests of releases that know of none stay what they are.
            **({"stop_window_s": self.stop_window.total_seconds()} if self.stop_window else {}),
            **({"risk": self.risk.value} if self.risk != Risk.of(None, writes=self.writes) else {}),
        }


BUILT_IN = ("agents.tools.people",)
"""Tools that every installation has."""

_declared: dict[str, Declaration] = {}
_lock = threading.RLock()
_loaded = threading.Event()


def declare(declaration: Declaration) -> None:
    """Enter a tool; a name that is taken is refused, since nobody could say which of the two is meant."""
    with _lock:
        if other := _declared.get(declaration.name):
            raise errors.Conflict(
                f"The tool {declaration.name} is declared twice: at {other.source} and at {declaration.source}. "
                "Rename one of them."
            )
        _declared[declaration.name] = declaration


def declared() -> dict[str, Declaration]:
    """Every tool there is, by name."""
    load()
    return dict(sorted(_declared.items()))


def find(name: str) -> Declaration:
    """The tool of that name; an unknown one is answered with names that look like it."""
    if not _loaded.is_set():
        load()
    try:
        return _declared[name]
    except KeyError:
        raise errors.Missing(f"There is no tool called {name!r}. {alike(name, _declared)}".strip()) from None


def risk_of(bundle: Any, name: str, *, writes: bool) -> Risk:
    """How much harm a tool of this release can do: as its author says it now, or as the release kept it."""
    if not _loaded.is_set():
        load()
    if name in _declared:
        return _declared[name].risk
    return Risk.of(bundle.get("tool_schemas", {}).get(name, {}).get("risk"), writes=writes)


def alike(name: str, known: Any) -> str:
    """A sentence that helps after a typing mistake; empty when nothing is near."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"Did you mean {nearest[0]}?" if nearest else ""


def load() -> None:
    """Import every tool module once per process. A module that fails leaves nothing behind and is tried again later."""
    if _loaded.is_set():
        return
    with _lock:
        if _loaded.is_set():
            return
        for name in (*BUILT_IN, *settings.AGENT_TOOL_MODULES, *workspace.tool_modules()):
            _import(name)
        _loaded.set()


def _import(name: str) -> None:
    before = dict(_declared)
    try:
        import_module(name)
    except errors.DomainError:
        _restore(before)
        raise
    except Exception as error:
        _restore(before)
        raise errors.Invalid(f"The tools in {_place(name, error)} could not be loaded: {_cause(error)}.") from error


def _restore(before: dict[str, Declaration]) -> None:
    _declared.clear()
    _declared.update(before)


def _place(name: str, error: Exception) -> str:
    """File and line where an import went wrong: the last line beside the tools, not the import machinery's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno},"
    try:
        found = find_spec(name)
    except ImportError:
        found = None
    if found and found.origin:
        beside = Path(found.origin).parent
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if beside in Path(frame.filename).parents:
                return f"{frame.filename}, line {frame.lineno},"
    return f"the module {name}"


def _cause(error: Exception) -> str:
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {words}".rstrip(". ")
