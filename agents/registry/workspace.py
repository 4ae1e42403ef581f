"""The workspace: a folder outside the clone where a company keeps its own agents and tools (`COCKPIT_WORKSPACE`).

Its Python is importable below the package `cockpit_workspace`, so that it can never be taken for an installed one:
`tools/orders.py` is `cockpit_workspace.tools.orders`, `programs/triage.py` is `cockpit_workspace.programs.triage`.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from django.conf import settings

PACKAGE = "cockpit_workspace"


def folder() -> Path | None:
    """Where it is, if there is one."""
    found: Path | None = settings.WORKSPACE
    return found


def mount() -> None:
    """Make the workspace's Python importable; in one process a second workspace replaces the first."""
    path, package = folder(), sys.modules.get(PACKAGE)
    if path is None or (package is not None and list(package.__path__) == [str(path)]):
        return
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]
    package = ModuleType(PACKAGE, "A company's own agents and tools.")
    package.__path__ = [str(path)]
    sys.modules[PACKAGE] = package
    importlib.invalidate_caches()


def tool_modules() -> list[str]:
    """The modules with tools, by file name; what begins with an underscore is for the others to import."""
    path = folder()
    if path is None:
        return []
    mount()
    files = sorted((path / "tools").glob("*.py"))
    return [f"{PACKAGE}.tools.{file.stem}" for file in files if not file.stem.startswith("_")]
