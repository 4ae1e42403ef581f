"""The seals once more, outside the database: `<data dir>/audit/checkpoints.jsonl`, one line each, only ever appended.

Who owns the database and the key can write the whole log anew and sign it. They cannot make a file forget that others
have read or copied: `audit verify` compares the two.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from agents import errors
from agents.audit.models import AuditSeal
from agents.audit.seals import Seal

MOST = 5000
"""Lines written in one go: a host that joins late fetches what it lacks bit by bit."""
_TAIL = 1 << 16


def path() -> Path:
    """Where this installation keeps them."""
    return Path(settings.DATA_DIR) / "audit" / "checkpoints.jsonl"


def line(seal: Seal) -> str:
    """A seal as the file has it: without what only the sealer needs."""
    said = {name: value for name, value in seal.line().items() if name != "frontier"}
    return json.dumps(said) + "\n"


def publish() -> int:
    """Append the seals that the file does not have yet; how many. Any number of processes may."""
    place = path()
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with place.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = _last_number(file, place)
        fresh = AuditSeal.objects.filter(number__gt=known).order_by("number")[:MOST]
        lines = [line(Seal.of_row(row)).encode() for row in fresh]
        if lines:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
    return len(lines)


def read(place: Path) -> Iterator[Seal]:
    """The seals of such a file, in its order."""
    try:
        with place.open(encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                if text.endswith("\n"):  # the last line may be on its way
                    yield _seal(text, f"{place}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise errors.Invalid(f"{place} cannot be read: {why}.") from error


def _last_number(file: IO[bytes], place: Path) -> int:
    """The number of the last whole line. What a process that died left half written is taken away."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - _TAIL))
    whole, _, torn = file.read().rpartition(b"\n")
    if torn:
        file.truncate(end - len(torn))
    file.seek(0, os.SEEK_END)
    if not whole:
        if start:
            raise errors.Invalid(f"{place} ends in a line longer than any checkpoint; nothing is added to it.")
        return 0
    return _seal(whole.rpartition(b"\n")[2].decode(errors="replace"), f"{place}, last line").number


def _seal(text: str, where: str) -> Seal:
    try:
        return Seal.of_line(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise errors.Invalid(f"{where}, is no checkpoint: {text.strip()[:60]!r}") from error
