"""Drivers and their fates: one strikes at the n-th line of the engine or of a tool that the driver runs.

To die is to be gone from that line on, as in a killed process: what was not committed is undone by the database, no
other line is run. To sleep is to stand still there, as in a stopped process, until woken: never inside a transaction,
which the server would end. Counting lines makes a fate the same every time, so that a story can be told again.
"""

import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from uuid import UUID

from django.db import connection

from agents import runs
from agents.runs import runner
from agents.runs.stopping import stopping
from tests.agents.engine_machine import world

ENGINE = str(Path(next(iter(runs.__path__))))
WORLD = str(Path(world.__file__))
# Where connections are taken and given back: dying there would take from this process what the system takes back from
# a dead one. And what depends on the clock.
SPARED = {"hotpath.py", "keeper.py", "gates.py", "database", "progress", "load"}
MOST_S = 300.0


class KilledError(BaseException):
    """This driver is no more."""


class Fate:
    """Strikes at the n-th line."""

    def __init__(self, line: int, *, sleeps: bool = False) -> None:
        self.left, self.sleeps = line, sleeps
        self.place = ""
        self.asleep, self.woken = threading.Event(), threading.Event()

    def enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered: whether its lines count."""
        return self.pass_line if is_counted(frame.f_code) else None

    def pass_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A line is about to be run."""
        self.left -= event == "line"
        if self.left > 0 or event != "line" or (self.sleeps and connection.in_atomic_block):
            return self.pass_line
        sys.settrace(None)
        self.place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
        if not self.sleeps:
            raise KilledError(self.place)
        self.asleep.set()
        assert self.woken.wait(MOST_S), "nobody woke this driver"
        return None


_counted: dict[CodeType, bool] = {}


def is_counted(code: CodeType) -> bool:
    """Whether a fate may strike in this function."""
    if code not in _counted:
        path = Path(code.co_filename)
        is_ours = path.is_relative_to(ENGINE) or str(path) == WORLD
        _counted[code] = is_ours and not {path.name, code.co_name} & SPARED
    return _counted[code]


def drive(run_id: UUID, fate: Fate | None = None, *, ends: bool = False) -> None:
    """Drive a run in this thread as far as fate allows; `ends`: its worker is asked to end meanwhile."""
    before = sys.gettrace()
    if ends:
        stopping.set()
    try:
        sys.settrace(fate.enter if fate else None)
        runner.drive(run_id)
    except KilledError:
        pass
    finally:
        sys.settrace(before)
        stopping.clear()
    assert not connection.in_atomic_block
    connection.close()


class Sleeper(threading.Thread):
    """A driver in a thread of its own, which stands still where its fate wants it to."""

    def __init__(self, run_id: UUID, line: int) -> None:
        super().__init__(name=f"driver of {run_id}", daemon=True)
        self.run_id, self.fate = run_id, Fate(line, sleeps=True)
        self.token = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            drive(self.run_id, self.fate)
        except BaseException as error:
            self.error = error
            connection.close()

    def fall_asleep(self) -> bool:
        """Drive until it sleeps or has ended; whether it sleeps."""
        self.start()
        while self.is_alive() and not self.fate.asleep.wait(0.001):
            pass
        if not self.fate.asleep.is_set():
            self.wake()
        return self.is_alive()

    def wake(self) -> None:
        """Let it go on to its end."""
        self.fate.woken.set()
        self.join(MOST_S)
        assert not self.is_alive()
        if self.error:
            raise self.error
