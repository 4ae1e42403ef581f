"""How much may be asked of models at once and per minute: `limits.toml` in the workspace, or else in the data folder.

    [providers.openai]
    requests_per_minute = 500
    tokens_per_minute = 200000
    concurrency = 40

    [teams.service]
    concurrency = 20

    [agents.refunds]
    concurrency = 5

Read again when it has changed. While what it says makes no sense the last limits that did hold on; a process that never
saw any makes no calls, and says why.
"""

import logging
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks

from agents import errors

log = logging.getLogger(__name__)

FILE = "limits.toml"
KEYS = {
    "providers": ("requests_per_minute", "tokens_per_minute", "concurrency"),
    "teams": ("concurrency",),
    "agents": ("concurrency",),
}
LOOK_AGAIN = 10.0
"""Seconds after which a call that was not made for want of readable limits is tried again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls a minute, tokens a minute, and calls at a time; 0 where there is no limit."""

    providers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    teams: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    agents: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of_provider(self, name: str, key: str) -> int:
        """One limit of one provider."""
        return self.providers.get(name, {}).get(key, 0)

    def at_a_time(self, kind: str, name: str) -> int:
        """Calls at a time of one team (`teams`) or agent (`agents`)."""
        table: Mapping[str, Mapping[str, int]] = getattr(self, kind)
        return table.get(name, {}).get("concurrency", 0)


NONE = Limits()

_reading = threading.Lock()
_seen: tuple[object, Limits | None] = (None, None)


def current() -> Limits:
    """The limits in force. Raises `errors.NoCapacity` where nobody can know them."""
    global _seen
    path = place()
    mark = _mark(path)
    seen, limits = _seen
    if mark != seen:
        with _reading:
            limits = _read(path, _seen[1])
            _seen = (mark, limits)
    if limits is None:
        sentence = f"No model is asked before its limits can be read: {problem()}"
        raise errors.NoCapacity(sentence, retry_after=LOOK_AGAIN)
    return limits


def place() -> Path:
    """Where the file is, or would be."""
    folder: Path | None = settings.WORKSPACE
    if folder and (folder / FILE).exists():
        return folder / FILE
    return Path(settings.DATA_DIR) / FILE


def read(path: Path) -> Limits:
    """What a file says. Raises `errors.Invalid` with one sentence that names the place."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return NONE
    except OSError as error:
        raise errors.Invalid(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.Invalid(f"{path} is not TOML: {error}.") from error
    for kind, named in tables.items():
        if kind not in KEYS:
            raise errors.Invalid(f"{path}: [{kind}] means nothing here. There are {', '.join(KEYS)}.")
        _require_tables(path, kind, named)
    return Limits(**tables)


def problem() -> str:
    """What is wrong with the file, in one sentence; empty when nothing is."""
    try:
        read(place())
    except errors.Invalid as error:
        return error.message
    return ""


@checks.register
def say_what_is_wrong(app_configs: object, **_: object) -> list[checks.CheckMessage]:
    """Said by every command of manage.py."""
    sentence = problem()
    return [checks.Warning(sentence, id="agents.W001")] if sentence else []


def _require_tables(path: Path, kind: str, named: Any) -> None:
    if not isinstance(named, dict):
        raise errors.Invalid(f"{path}: {kind} is no table; write [{kind}.NAME] and below it concurrency = 10.")
    for name, table in named.items():
        if not isinstance(table, dict):
            raise errors.Invalid(f"{path}: [{kind}] {name} is no table; write [{kind}.{name}] and limits below it.")
        for key, value in table.items():
            if key not in KEYS[kind]:
                known = ", ".join(KEYS[kind])
                raise errors.Invalid(f"{path}: [{kind}.{name}] {key} means nothing here. There is {known}.")
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise errors.Invalid(
                    f"{path}: [{kind}.{name}] {key} is {value!r}; it takes a whole number from 1 up. "
                    "To stop an agent, freeze it."
                )


def _read(path: Path, before: Limits | None) -> Limits | None:
    try:
        return read(path)
    except errors.Invalid as error:
        kept = "The limits before it hold on." if before else "No model is asked until that is mended."
        log.error("%s %s", error.message, kept)
        return before


def _mark(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return path
    return path, found.st_mtime_ns, found.st_size
