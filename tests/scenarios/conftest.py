"""Where the shop's recorded runs lie."""

import json
from pathlib import Path

import pytest

from tests.scenarios.shop import WRITE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where runs lie beside the tool list that tells reads from writes."""
    listed = [{"name": "find_parcel", "tool_type": "read"}, {"name": WRITE, "tool_type": "write"}]
    (tmp_path / "domains" / "shop" / "typed").mkdir(parents=True)
    (tmp_path / "domains" / "shop" / "typed" / "tools.json").write_text(json.dumps(listed))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"
