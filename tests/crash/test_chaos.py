"""A few cells of `make chaos` with few runs: nothing is lost, nothing keyed happens twice, the rest is asked about."""

import pytest

from tests.chaos.__main__ import play
from tests.chaos.cells import CELLS

pytestmark = pytest.mark.crash

RUNS = 16
SHORT = ("postgres killed", "new version beside the old")
LEASE_ENDS_S = 30.0  # nine of the lease, up to four of the sweep, and a machine that has other things to do


@pytest.fixture(scope="module")
def verdicts() -> dict[str, dict[str, object]]:
    """What became of each cell; they share servers of their own, which die with them."""
    cells = [cell for cell in CELLS if cell.name in SHORT]
    return {str(row["cell"]): row for row in play(RUNS, *cells)}


@pytest.mark.parametrize("cell", SHORT)
def test_nothing_is_lost_and_nothing_happens_twice(verdicts: dict[str, dict[str, object]], cell: str) -> None:
    assert cell in verdicts, "it was not played to its end; its complaints are above"
    found = verdicts[cell]
    assert (found["lost"], found["keyed_twice"], found["unkeyed_twice"], found["why"]) == (0, 0, 0, "")
    moved = found["moved_s"]
    assert isinstance(moved, float)
    assert moved < LEASE_ENDS_S
