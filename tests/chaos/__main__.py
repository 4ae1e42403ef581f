"""`python -m tests.chaos [NAME] [--runs 200]`: every cell whose name has NAME in it, and one table. `make chaos`."""

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.chaos.cell import MARK
from tests.chaos.cells import CELLS, Cell
from tests.chaos.ground import can_mount

COLUMNS = ("cell", "runs", "in flight", "lost", "keyed twice", "unkeyed twice", "in doubt", "all moved after")


def main() -> None:
    """Play, print, and fail if anything was lost or happened twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="part of the names of the cells to play")
    parser.add_argument("--runs", type=int, default=200, help="how many are in flight (default 200)")
    asked = parser.parse_args()
    chosen = [cell for cell in CELLS if asked.only in cell.name]
    if not chosen:
        names = ", ".join(cell.name for cell in CELLS)
        raise SystemExit(f"No cell is called {asked.only!r}; there are {names}.")
    rows, skipped = [], []
    for cell in chosen:
        if cell.small_disk and not can_mount():
            skipped.append(f"{cell.name}: skipped, only root may mount the small disk that is to be full.")
            continue
        print(f"{cell.name} …", flush=True)
        rows += play(asked.runs, cell)
    print(table(rows))
    print("\n".join(skipped))
    if len(rows) + len(skipped) < len(chosen) or not all(row["holds"] for row in rows):
        raise SystemExit("Something was lost, happened twice, or never moved.")


def play(runs: int, *cells: Cell) -> list[dict[str, Any]]:
    """These cells in a process with servers of its own; what it found, and its complaints where it found less."""
    command = [sys.executable, "-m", "tests.chaos.cell", str(runs), *(cell.name for cell in cells)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [json.loads(line.removeprefix(MARK)) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if len(found) < len(cells) or not all(row["holds"] for row in found):
        print(done.stdout[-5_000:], done.stderr[-20_000:], sep="\n", file=sys.stderr)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The verdicts in Markdown, as the documentation shows them."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    keys = ("runs", "in_flight", "lost", "keyed_twice", "unkeyed_twice", "in_doubt")
    for row in rows:
        moved = "never" if row["moved_s"] is None else f"{row['moved_s']:.1f} s"
        lines.append("| " + " | ".join([row["cell"], *(str(row[key]) for key in keys), moved]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
