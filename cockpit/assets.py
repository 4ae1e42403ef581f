"""Static files that come out of installed packages instead of this repository: Plotly's script, from its wheel.

Apart from settings because `STATICFILES_DIRS` could only serve the package's whole folder, data sets included.
"""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.checks import CheckMessage, Error
from django.core.files.storage import FileSystemStorage

PLOTLY = "plotly/plotly.min.js"


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
