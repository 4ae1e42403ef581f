"""A newer version of the code, made from this one: what an upgrade changes while the old version still works.

Its tables have a column more, added as our own migrations add them: with a default that the database knows, so that
rows written by the old version are whole. Its tools answer with more than they did.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cockpit.environment import ROOT

PARTS = ("agents", "approvals", "cockpit", "finops", "tests/workspace", "manage.py", "static", "templates")
FIELD = '    ripeness = models.CharField(max_length=12, default="green", db_default="green")\n'


def make(root: Path, *, env: Mapping[str, str]) -> None:
    """Put it at `root` and bring the database up to it."""
    for part in PARTS:
        target = root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / part, target) if (ROOT / part).is_dir() else shutil.copy(ROOT / part, target)
    for noun in ("Run", "Step"):
        _add_field(root / "agents", noun)
    world = root / "tests/workspace/tools/world.py"
    world.write_text(world.read_text().replace('return {"text": text}', 'return {"text": text, "ripeness": "ripe"}'))
    for command in (["makemigrations", "agents", "--name", "ripeness"], ["migrate"]):
        subprocess.run([sys.executable, "manage.py", *command, "--verbosity", "0"], cwd=root, env=env, check=True)


def _add_field(folder: Path, noun: str) -> None:
    """One more field on a model, wherever it stands."""
    head = re.compile(rf"^class {noun}\(models\.Model\):\n    \"\"\".*?\"\"\"\n", re.M | re.S)
    places = [path for path in folder.rglob("*.py") if head.search(path.read_text())]
    assert len(places) == 1, f"{noun} is not where the new version looks for it"
    places[0].write_text(head.sub(lambda found: found[0] + FIELD, places[0].read_text()))
