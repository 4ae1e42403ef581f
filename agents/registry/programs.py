"""Where a release's program is written, and the digest that pins a run to exactly this program and bundle.

Programs themselves belong to runs, further down; here they are known by name and read as source.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from agents import errors
from agents.registry import workspace
from agents.registry.models import ProgramSource, Release

BUILT_IN = "agents.runs.programs"
"""Where a program named by one word lives; any other name is `dotted.path:Class`."""


BEHAVIOUR = {"llm": 1, "pipeline": 1, "recorded": 1, "outside": 1}
"""Ours by what they do. One rises when its program does something else with a history that exists, and only then: a
new version of the product that says the same in other words must not stop every run that is under way."""


def program_digest(release: Release) -> str:
    """SHA-256 of what the program does and of the release's content: the same digest means the same behaviour."""
    return pin(release.program, release.digest)


def pin(program: str, content: str) -> str:
    """The same, from the name of a program and the digest of a release's content."""
    return _together(source_digest(program), content)


def pinned(program: str, behaviour: int, content: str) -> str:
    """What a run was pinned to when a program of ours behaved so."""
    return _together(behaviour_digest(program, behaviour), content)


def _together(source: str, content: str) -> str:
    return hashlib.sha256(f"{source}:{content}".encode()).hexdigest()


@cache
def source_digest(program: str) -> str:
    """SHA-256 of the files of a program, or of the behaviour of one of ours. Read once per process: what a process has
    imported stays what it was when the file changes."""
    if program in BEHAVIOUR:
        return behaviour_digest(program, BEHAVIOUR[program])
    digest = hashlib.sha256(program.encode())
    for name, text in files(program).items():
        digest.update(name.encode() + b"\0" + text.encode())
    return digest.hexdigest()


def behaviour_digest(program: str, behaviour: int) -> str:
    """The digest of a program of ours."""
    return hashlib.sha256(f"{program} behaves as in {behaviour}".encode()).hexdigest()


@cache
def files(program: str) -> dict[str, str]:
    """The source of a program as this process has it, by file."""
    found = sources(program)
    return {file.name: file.read_text(encoding="utf-8", errors="replace") for file in found}


def keep(release: Release) -> None:
    """Keep the source that a run begins with, so that a person can be shown what is different later."""
    if release.program not in BEHAVIOUR:
        row = ProgramSource(digest=program_digest(release), program=release.program, files=files(release.program))
        ProgramSource.objects.bulk_create([row], ignore_conflicts=True)


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
