"""`python -m tests.chaos.cell RUNS NAME...`: these cells in this process, one after the other; a line of JSON for each.

A process of its own because its servers are killed, and Django knows one database per process.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.ground import Ground, ground

MARK = "verdict: "
HALF = 0.3  # of the acts, when it happens: most runs are in the middle of theirs


def main() -> None:
    """Play the cells that were named."""
    from tests.chaos.cells import CELLS

    number, names = int(sys.argv[1]), sys.argv[2:]
    cells = [cell for cell in CELLS if cell.name in names]
    with ground(small_disk=any(cell.small_disk for cell in cells)) as on:
        for cell in cells:
            print(MARK + json.dumps(play(on, cell, number)), flush=True)


def play(on: Ground, cell: Any, number: int) -> dict[str, object]:
    """One cell, from an idle fleet to the verdict."""
    from agents.models import Role
    from tests import factories
    from tests.chaos.cells import Scene
    from tests.chaos.work import Watch, Work, as_json
    from tests.fleet import Fleet, until

    folder = Path(tempfile.mkdtemp(prefix="cockpit-cell-"))
    fleet = Fleet(folder, threads=-(-number // 2), COCKPIT_ENGINE_POOL="8")
    try:
        people = {
            name: _person(factories, name, role) for name, role in (("olga", Role.OPERATOR), ("rhea", Role.REVIEWER))
        }
        fleet.start("tick")
        for name, off in zip(("model1", "model2"), cell.clocks, strict=True):
            fleet.env |= {"CLOCK_OFF": str(off), "PYTHONPATH": str(Path(__file__).parent / "clock") if off else ""}
            fleet.start(name)
        cell.before(Scene(on, fleet))
        fleet.ready()
        work = Work(fleet, number + number // 8, **people)  # some wait for a worker
        until(lambda: fleet.world.count() >= work.acts * HALF, "a third of the work", seconds=120)
        _check_clocks(fleet, cell)
        watch = Watch(work)
        watch.start()
        cell.happen(Scene(on, fleet))
        work.finish()
        watch.join(5)
        verdict = work.verdict(cell.name, len(watch.before), watch.moved_s)
        if not verdict.holds:
            print(fleet.said()[-20_000:], file=sys.stderr)
        return as_json(verdict)
    finally:
        fleet.end()
        _clear()
        shutil.rmtree(folder, ignore_errors=True)


def _person(factories: Any, name: str, role: str) -> Any:
    from agents.models import User

    return User.objects.filter(username=name).first() or factories.person(name, role, of=factories.team())


def _check_clocks(fleet: Any, cell: Any) -> None:
    """The tools' log is written by the workers' clocks: they must be as wrong as they were meant to be."""
    off = sorted({round((act.at - time.time()) / 3600) for act in fleet.world.acts()})
    assert off == sorted({seconds // 3600 for seconds in cell.clocks}), f"the clocks are off by {off} hours"


def _clear() -> None:
    """The next cell's workers must not find what this one has left."""
    from django.utils import timezone

    from agents.models import Run
    from tests.chaos.ground import calmly

    ended = {"state": Run.State.CANCELLED, "finished_at": timezone.now(), "lease_until": None}
    calmly(lambda: Run.objects.live().update(**ended))


if __name__ == "__main__":
    main()
