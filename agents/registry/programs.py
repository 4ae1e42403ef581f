"""Where a release's program is written, and the digest that pins a run to exactly this program and bundle.

Programs themselves belong to runs, further down; here they are known by name and read as source.
"""

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from agents import errors
from agents.registry import workspace
from agents.registry.models import Release

BUILT_IN = "agents.runs.programs"
"""Where a program named by one word lives; any other name is `dotted.path:Class`."""


def program_digest(release: Release) -> str:
    """SHA-256 of the program's source and the release's content: the same digest means the same behaviour."""
    return _digest(release.program, release.digest)


@lru_cache(maxsize=1024)
def _digest(program: str, content: str) -> str:
    """Read once per process: what a process has imported stays what it was when the file changes."""
    return hashlib.sha256(f"{source_digest(program)}:{content}".encode()).hexdigest()


def source_digest(program: str) -> str:
    """SHA-256 of the module that a program is written in, and of every file of it if it is a package."""
    digest = hashlib.sha256(program.encode())
    for file in sources(program):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def sources(program: str) -> list[Path]:
    """The files a program is written in. Raises `errors.Invalid` when there is no such module."""
    module = module_of(program)
    try:
        spec = find_spec(module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise errors.Invalid(f"There is no program {program!r}: no module {module} can be imported.", field="program")
    origin = Path(spec.origin)
    return sorted(origin.parent.glob("**/*.py")) if origin.name == "__init__.py" else [origin]


def module_of(program: str) -> str:
    """`llm` is a module of ours; `orders.triage:Triage` and `orders.triage.Triage` are the class of somebody else's."""
    workspace.mount()
    if ":" in program:
        return program.partition(":")[0]
    if "." in program:
        return program.rpartition(".")[0]
    return f"{BUILT_IN}.{program}"
