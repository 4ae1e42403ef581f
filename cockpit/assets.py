"""How static files are served: Plotly's script straight from its wheel, text compressed, everything from memory.

Apart from settings because `STATICFILES_DIRS` could only serve the wheel's whole folder, data sets included, and
WhiteNoise finds compressed files only beside their originals, where an installation may not write.
"""

import gzip
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.checks import CheckMessage, Error
from django.core.files.storage import FileSystemStorage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]  # it has no types
from whitenoise.responders import StaticFile  # type: ignore[import-untyped]  # likewise

PLOTLY = "plotly/plotly.min.js"
COMPRESSED = {".css", ".js", ".svg"}


def plotly_folder() -> Path | None:
    """Where the wheel keeps its script; found without importing Plotly, which takes 0.1 s and 39 MB."""
    spec = find_spec("plotly")
    return Path(spec.origin).parent / "package_data" if spec and spec.origin else None


class PackageFinder(BaseFinder):
    """Serves `static/plotly/plotly.min.js`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        folder, name = plotly_folder(), PLOTLY.rpartition("/")[2]
        self.file = folder / name if folder and (folder / name).is_file() else None

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Say so at start-up when the script is not where the wheel used to keep it."""
        if self.file:
            return []
        return [
            Error("plotly.min.js is not in the installed plotly wheel, so no chart can be drawn.", id="cockpit.E001")
        ]

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        """The file behind a static address, as Django asks for it."""
        found = [str(self.file)] if self.file and path == PLOTLY else []
        return found if find_all else (found[0] if found else [])

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        """The one file, for `collectstatic` and WhiteNoise."""
        if self.file:
            storage = FileSystemStorage(location=self.file.parent)
            storage.prefix = PLOTLY.rpartition("/")[0]  # type: ignore[attr-defined]  # as Django's own finders do
            yield self.file.name, storage


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # of a class without types
    """WhiteNoise, with compressed text kept in the data folder: a page costs a phone a third of its bytes."""

    def get_static_file(self, path: str, url: str, stat_cache: dict[str, os.stat_result] | None = None) -> StaticFile:
        """The file with its compressed twin, where it has one."""
        file: StaticFile = super().get_static_file(path, url, stat_cache)
        if Path(path).suffix not in COMPRESSED:
            return file
        twin = str(_compressed(Path(path)))
        known = None if stat_cache is None else {**stat_cache, twin: os.stat(twin)}
        return StaticFile(path, file.alternatives[-1][2], stat_cache=known, encodings={"gzip": twin})

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """One plain response: an asynchronous server would read a file's own iterator at once, and complain."""
        found = static_file.get_response(request.method, request.META)
        body = b""
        if found.file is not None:
            with found.file as file:
                body = file.read()
        response = HttpResponse(body, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        if body:
            response["Content-Length"] = str(len(body))  # the file may have changed since its length was noted
        return response


def _compressed(path: Path) -> Path:
    """The gzip of a file as it is now; made once, whole before it has its name."""
    stat = path.stat()
    twin: Path = settings.DATA_DIR / "compressed" / f"{path.name}.{stat.st_mtime_ns}.{stat.st_size}.gz"
    if not twin.exists():
        twin.parent.mkdir(parents=True, exist_ok=True)
        making = twin.with_suffix(f".{os.getpid()}")
        making.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        making.replace(twin)
    return twin
