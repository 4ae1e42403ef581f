"""A new agent in a workspace: its file, two tools, a fixture, a README. The files to fill in stand in `scaffold/`."""

import re
from pathlib import Path
from string import Template

from agents import errors

SOURCES = Path(__file__).parent / "scaffold"


def make(slug: str, folder: Path, *, team: str, owner: str) -> list[Path]:
    """Write the files of a new agent and return them; nothing that exists is touched, and then nothing is written."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,59}", slug):
        raise errors.Invalid(f"{slug!r} is no slug for an agent: use small letters, digits and -, a letter first.")
    module = slug.replace("-", "_")
    file = folder / "agents" / f"{slug}.toml"
    files = {
        file: "agent.toml",
        folder / "tools" / f"{module}.py": "tools.py.txt",
        folder / "fixtures" / f"{slug}.json": "fixture.json",
    }
    if taken := next((path for path in files if path.exists()), None):
        raise errors.Conflict(f"{taken} exists already and is left as it is; choose another slug.")
    if not (folder / "README.md").exists():
        files[folder / "README.md"] = "README.md"
    words = {"slug": slug, "module": module, "name": module.replace("_", " ").capitalize(), "file": file}
    for path, source in files.items():
        text = Template((SOURCES / source).read_text(encoding="utf-8"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.substitute(words, team=team, owner=owner), encoding="utf-8")
    return list(files)
