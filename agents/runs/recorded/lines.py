"""From paths to lines of bytes: which files there are, plain or gzip, and where one breaks off.

Apart from `reading`, because everything the disk can do wrong ends here as a fault, and no more than one line is held.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from agents.runs.recorded.recording import Fault, Severity

ENDINGS = (".jsonl", ".jsonl.gz")
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_LINE = 64 * 1024 * 1024  # bytes; a guard against a file that is not what its name says


def found(paths: Iterable[Path]) -> Iterator[Path | Fault]:
    """Every file of recorded runs under the paths, each once, folders in the order of their names."""
    seen: set[Path] = set()
    for path in paths:
        for file in _under(path):
            if isinstance(file, Fault):
                yield file
            elif (real := file.resolve()) not in seen:
                seen.add(real)
                yield file


def lines(file: Path) -> Iterator[tuple[int, bytes] | Fault]:
    """The lines of one file with their numbers, counted from 1; a fault where the file cannot be read on."""
    number = 1
    try:
        with _opened(file) as stream:
            while line := stream.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    _skip_rest(stream)
                    yield _broken(file, number, f"the line is longer than {LONGEST_LINE // 1024**2} MiB")
                else:
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                number += 1
    except EOFError:
        yield _broken(file, number, "the gzip file breaks off here (truncated); the lines before it were read")
    except (zlib.error, gzip.BadGzipFile) as error:
        yield _broken(file, number, f"the gzip file is damaged here ({error}); the lines before it were read")
    except OSError as error:
        yield _broken(file, number, f"the file can't be read: {error.strerror or error}")


def _under(path: Path) -> Iterator[Path | Fault]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.jsonl*") if file.name.endswith(ENDINGS) and file.is_file())
        yield from files
        if not files:
            yield _broken(path, None, "no .jsonl or .jsonl.gz file is in this folder")
    elif not path.exists():
        yield _broken(path, None, "there is no such file or folder")
    elif not path.name.endswith(ENDINGS):
        yield _broken(path, None, "recorded runs are read from .jsonl and .jsonl.gz files")
    else:
        yield path


def _opened(file: Path) -> BinaryIO:
    with file.open("rb") as raw:
        magic = raw.read(len(GZIP_MAGIC))
    # By content: a download is often unpacked or packed without its name changing.
    return cast(BinaryIO, gzip.open(file, "rb")) if magic == GZIP_MAGIC else file.open("rb")


def _skip_rest(stream: BinaryIO) -> None:
    while (piece := stream.readline(LONGEST_LINE)) and not piece.endswith(b"\n"):
        pass


def _broken(file: Path, line: int | None, reason: str) -> Fault:
    return Fault(file=file, line=line, reason=reason, severity=Severity.SKIPPED)
