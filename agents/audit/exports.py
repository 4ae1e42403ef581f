"""A log in a file that can be checked without the database: one JSON object a line, each named by its only key.

`export` says what it is and whose key signed it; `place` is a sealed entry, `seal` the statement over the places before
it, `unsealed` an entry that waits for a place, `end` how many of each there are. What was sealed is kept as text, byte
for byte: whoever checks it needs SHA-256 and Ed25519, and nothing of ours.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeVar

from agents import errors
from agents.audit import signing
from agents.audit.canonical import VERSION, read
from agents.audit.seals import Seal, say
from agents.audit.verifying import Book, Place

Found = TypeVar("Found")
_SAME = object()


def write(book: Book, place: Path, *, key: bytes) -> dict[str, int]:
    """Write the log to a new file (packed, if its name ends in .gz), for its owner's eyes; how many of each."""
    try:
        draft = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise errors.Conflict(f"{place} exists; name a file that does not.") from error
    except OSError as error:
        raise errors.Invalid(f"{place} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(draft, "wb") as raw, ExitStack() as closing:
            is_packed = place.suffix == ".gz"
            file = closing.enter_context(gzip.GzipFile(fileobj=raw, mode="wb")) if is_packed else raw
            return _write(book, file, key)
    except BaseException:
        place.unlink()
        raise


def _write(book: Book, file: IO[bytes] | gzip.GzipFile, key: bytes) -> dict[str, int]:
    counts = {"places": 0, "seals": 0, "unsealed": 0}

    def put(kind: str, content: Any) -> None:
        file.write(json.dumps({kind: content}).encode() + b"\n")

    about = {"format": VERSION, "exported_at": say(datetime.now(UTC)), "cluster": book.cluster}
    put("export", {**about, "next_xid": book.next_xid, "key": key.hex(), "pem": signing.pem(key)})
    places = book.places()
    ahead = next(places, None)
    for seal in chain(book.seals(), [None]):
        while ahead and (seal is None or ahead.seq <= seal.size):
            put("place", _place_line(ahead))
            counts["places"] += 1
            ahead = next(places, None)
        if seal:
            put("seal", seal.line())
            counts["seals"] += 1
    for form in book.unsealed():
        put("unsealed", _text(form))
        counts["unsealed"] += 1
    put("end", counts)
    return counts


def _place_line(place: Place) -> dict[str, Any]:
    """`row` only where the entry is no longer what was sealed; null where it is gone."""
    line = {"seq": place.seq, "entry_id": place.entry_id, "leaf": place.leaf.hex(), "chain": place.chain.hex()}
    line["sealed"] = _text(place.body)
    if place.row != place.body:
        line["row"] = None if place.row is None else _text(place.row)
    return line


class ExportedBook:
    """A log read from such a file; a line that does not fit the form is refused by its number."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.counts: dict[str, int] = {}
        head = next(self._of("export", lambda line: line if line["format"] == VERSION else None), None)
        if head is None:
            raise errors.Invalid(f"{place} is no audit export of the form {VERSION}.")
        try:
            self.cluster, self.next_xid = str(head["cluster"]), int(head["next_xid"])
            self.key, self.exported_at = bytes.fromhex(head["key"]), str(head["exported_at"])
        except (KeyError, ValueError, TypeError) as error:
            raise errors.Invalid(f"{place}, line 1, lacks something that an export begins with ({error}).") from error

    def places(self) -> Iterator[Place]:
        """The entries that have a place."""
        return self._of("place", _place)

    def seals(self) -> Iterator[Seal]:
        """The seals."""
        return self._of("seal", Seal.of_line)

    def unsealed(self) -> Iterator[bytes]:
        """The entries that have no place."""
        return self._of("unsealed", _form)

    @property
    def is_whole(self) -> bool:
        """Whether everything was there that its end tells of. Asked when all of it has been read."""
        end = next(self._of("end", dict), {})
        kinds = {"places": "place", "seals": "seal", "unsealed": "unsealed"}
        return all(end.get(name) == self.counts.get(kind, 0) for name, kind in kinds.items())

    def _of(self, kind: str, form: Callable[[Any], Found | None]) -> Iterator[Found]:
        """The content of every line of a kind, as `form` makes it; nothing from one that it makes None of."""
        mark, self.counts[kind] = f'{{"{kind}":', 0
        for number, text in self._lines():
            if not text.startswith(mark):
                continue
            self.counts[kind] += 1
            try:
                found = form(json.loads(text)[kind])
            except (ValueError, KeyError, TypeError) as error:
                raise errors.Invalid(f"{self.place}, line {number}, cannot be read as a {kind} ({error}).") from error
            if found is not None:
                yield found

    def _lines(self) -> Iterator[tuple[int, str]]:
        try:
            opened = gzip.open if self.place.suffix == ".gz" else open
            with opened(self.place, "rt", encoding="utf-8") as file:
                yield from enumerate(file, start=1)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is packed or written in another way"
            raise errors.Invalid(f"{self.place} cannot be read: {why}.") from error


def _place(line: Any) -> Place:
    body = _bytes(line["sealed"])
    row = line.get("row", _SAME)
    form = body if row is _SAME else None if row is None else _bytes(row)
    return Place(
        int(line["seq"]), int(line["entry_id"]), bytes.fromhex(line["leaf"]), bytes.fromhex(line["chain"]), body, form
    )


def _form(text: Any) -> bytes:
    """A form of which the checks can tell where it would belong."""
    found = _bytes(text)
    fields = read(found)
    int(fields["id"]), int(fields["xid"]), fields["at"]
    return found


def _text(form: bytes) -> str:
    return form.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
