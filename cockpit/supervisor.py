"""Keeps processes running: prefixes what they say, restarts what dies, ends all of them in order. No Django here.

Apart from `manage.py up`, which decides *what* runs. Everything happens on the main thread, except that each child
has a reader of its output: so a child is never started while it is being ended.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from cockpit import environment, processes
from cockpit.processes import Mark
from cockpit.servers import Server, ServerError

GRACE = (
    20.0  # Seconds a child has to end by itself: a driver gives up its step after 15, the web server is sooner done.
)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
STEADY = 60.0  # Seconds after which a child counts as healthy again and its next restart comes quickly.
SAME_PRESS = 0.5  # Seconds: a terminal and `make` may both deliver one Ctrl-C.


@dataclass(frozen=True)
class Job:
    """What is to be kept running. `dies_by`: the signal the kernel sends it when we are killed outright."""

    name: str
    command: Sequence[str]
    dies_by: signal.Signals = signal.SIGTERM


class Stopping:
    """Whether somebody has asked us to end, and how urgently."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hurry = False
        self._at = 0.0

    def __bool__(self) -> bool:
        return self.asked.is_set()

    def ask(self, number: int, frame: FrameType | None) -> None:
        """A signal's handler: the first asks for an orderly end, the second for a quick one."""
        if self.asked.is_set() and time.monotonic() - self._at > SAME_PRESS:
            self.hurry = True
        self._at = time.monotonic()
        self.asked.set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Ctrl-C, an orderly kill and a closed terminal all mean the same; `nohup` keeps its promise."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self.ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Journal:
    """Our standard output, shared by everything we run: one line at a time, its speaker in front."""

    COLOURS = (36, 32, 33, 35, 34, 31)

    def __init__(self, output: IO[str] | None = None, *, width: int = 8) -> None:
        self.output = output or sys.stdout
        self.width = width
        self._lock = threading.Lock()
        self._is_terminal = self.output.isatty()
        self._colours: dict[str, int] = {}

    def say(self, speaker: str, line: str) -> None:
        """Write one line; a reader who has gone away stops nobody."""
        name = f"{speaker:<{self.width}} | "
        if self._is_terminal:
            colour = self._colours.setdefault(speaker, self.COLOURS[len(self._colours) % len(self.COLOURS)])
            name = f"\033[{colour}m{name}\033[0m"
        with self._lock, suppress(OSError, ValueError):
            self.output.write(f"{name}{line}\n")
            self.output.flush()

    def follow(self, speaker: str, stream: IO[bytes]) -> None:
        """Repeat what a child says until it closes its output."""

        def repeat() -> None:
            with stream:
                for line in stream:
                    if words := line.decode(errors="replace").rstrip():
                        self.say(speaker, words)

        threading.Thread(target=repeat, name=f"journal-{speaker}", daemon=True).start()


@dataclass
class _Restarts:
    """When something that died may be started again: at once, then after doubling pauses."""

    pause: float = FIRST_PAUSE
    not_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def died(self) -> float:
        """Note a death; answers the seconds to wait."""
        now = time.monotonic()
        wait = self.pause = FIRST_PAUSE if now - self.started > STEADY else self.pause
        self.not_before = now + wait
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        return wait

    def is_due(self) -> bool:
        return time.monotonic() >= self.not_before


class Child:
    """One job and the process that does it now."""

    def __init__(self, job: Job, *, folder: Path, env: Mapping[str, str], journal: Journal) -> None:
        self.job = job
        self.env = env
        self.journal = journal
        self.mark = folder / "run" / "children" / f"{job.name}.json"
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = _Restarts()

    def start(self) -> None:
        """Start its process and write down which one it is."""
        self.process = processes.spawn(
            self.job.command, env=self.env, cwd=environment.ROOT, output=subprocess.PIPE, dies_by=self.job.dies_by
        )
        if mark := Mark.of(self.process.pid):
            mark.write(self.mark)
        if self.process.stdout:
            self.journal.follow(self.job.name, self.process.stdout)
        self.restarts.started = time.monotonic()

    def look(self) -> None:
        """Notice a death, sweep up what it left, and start again when its pause is over."""
        if self.process and self.process.poll() is not None:
            how = _manner(self.process.returncode)
            self.collect()
            self.journal.say("cockpit", f"{self.job.name} {how}; starting it again in {self.restarts.died():.0f} s.")
        elif self.process is None and self.restarts.is_due():
            self.start()

    def lives(self) -> bool:
        """Whether its process runs now."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Tell its process, if it still has one."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def collect(self) -> None:
        """Forget its process; whatever still runs of it, and whatever that started in its session, is killed."""
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        self.mark.unlink(missing_ok=True)


class Supervisor:
    """The children and servers of one installation."""

    def __init__(self, folder: Path, *, journal: Journal, stopping: Stopping) -> None:
        self.folder = folder
        self.journal = journal
        self.stopping = stopping
        self.env: dict[str, str] = dict(os.environ)
        self.servers: dict[Server, _Restarts] = {}
        self.children: list[Child] = []

    def end_orphans(self) -> None:
        """End what an earlier life left running: recognised by pid and start time, with everything in its session."""
        for path in sorted((self.folder / "run" / "children").glob("*.json")):
            mark = Mark.read(path)
            if mark and mark.is_running():
                self.journal.say(
                    "cockpit", f"Ending {path.stem} (process {mark.pid}), left behind by an earlier start."
                )
                processes.end_stranger(mark)
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(mark.pid, signal.SIGKILL)
            path.unlink(missing_ok=True)

    def serve(self, server: Server) -> None:
        """Start a server; everything started later finds it in its environment."""
        self.servers[server.start()] = _Restarts()
        self.env[server.variable] = server.url

    def add(self, job: Job) -> Child:
        """Start a job and keep it running."""
        child = Child(job, folder=self.folder, env=self.env, journal=self.journal)
        child.start()
        self.children.append(child)
        return child

    def once(self, job: Job) -> int:
        """Run a job to its end; answers its exit code. Being asked to stop ends it."""
        child = Child(job, folder=self.folder, env=self.env, journal=self.journal)
        child.start()
        assert child.process is not None
        process = child.process
        while process.poll() is None and not self.stopping:
            time.sleep(0.02)
        child.collect()
        return process.returncode

    def watch(self) -> None:
        """Keep everything running until somebody asks for the end."""
        while not self.stopping.asked.wait(0.2):
            self.look()

    def look(self) -> None:
        """Notice who died since the last look; start again whoever's pause is over."""
        for server, restarts in self.servers.items():
            self._look_at_server(server, restarts)
        for child in self.children:
            child.look()

    def stop(self) -> None:
        """The children first, together and with patience; the servers when nobody needs them any more."""
        started = time.monotonic()
        for child in self.children:
            child.signal(signal.SIGTERM)
        processes.wait_until(
            lambda: self.stopping.hurry or not any(child.lives() for child in self.children), seconds=GRACE
        )
        for child in self.children:
            if child.lives() and not self.stopping.hurry:
                self.journal.say("cockpit", f"{child.job.name} has not ended within {GRACE:.0f} s and is killed.")
            child.collect()
        for server in reversed(self.servers):
            server.stop()
        self.journal.say("cockpit", f"Everything is stopped ({time.monotonic() - started:.1f} s).")

    def _look_at_server(self, server: Server, restarts: _Restarts) -> None:
        if server.process and server.process.poll() is not None:
            server.process = None
            self.journal.say("cockpit", f"{server.name} died; starting it again in {restarts.died():.0f} s.")
        elif server.process is None and restarts.is_due():
            restarts.started = time.monotonic()
            try:
                server.start()
            except ServerError as error:
                self.journal.say("cockpit", f"{error} Trying again in {restarts.died():.0f} s.")


def _manner(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
