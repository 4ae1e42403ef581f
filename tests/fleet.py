"""Real workers and a real tick, as `manage.py up` starts them, and what they did to the outside world.

For tests that kill processes and benchmarks that time them. The verbs are called in this process, on the same database
and Redis; the tools of `tests/workspace` run in the workers.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection

from agents.models import Agent, Release, Run, User, Worker
from agents.runs import starting
from cockpit import environment, installation, processes
from tests import factories

Made = tuple[Agent, Release]
WORKSPACE = Path(__file__).parent / "workspace"
READY_S = 60.0
MOST_WORKERS = 9


def until(condition: Callable[[], Any], what: str, *, seconds: float = 60.0, every: float = 0.05) -> None:
    """Wait until something is so; time is up with a sentence that says what never came to be."""
    if not processes.wait_until(lambda: bool(condition()), seconds=seconds, every=every):
        raise AssertionError(f"Not within {seconds:.0f} s: {what}.")


@dataclass(frozen=True)
class Act:
    """One line of the outside world's log: it was asked to do this, at this moment (seconds since 1970)."""

    at: float
    what: str
    run: str
    seq: int
    key: str
    text: str
    pid: int


class World:
    """The outside world's own log; the only witness of what really happened."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.log.touch()

    def acts(self) -> list[Act]:
        """Everything it was asked to do, in order."""
        return [Act(**json.loads(line)) for line in self.log.read_text().splitlines()]

    def count(self) -> int:
        """How often it was asked."""
        return self.log.read_bytes().count(b"\n")


class Member:
    """One process of the fleet."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    @property
    def pid(self) -> int:
        """Its process; setpriv in front of it has become it."""
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Without a word of warning."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and collect it."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    @property
    def holder(self) -> str:
        """What the names under which it holds leases begin with."""
        return f"{socket.gethostname()}:{self.pid}:"

    def holds(self) -> list[Run]:
        """The runs whose lease it has, whether it still lives or not."""
        return list(Run.objects.filter(state=Run.State.RUNNING, lease_holder__startswith=self.holder))

    def sign(self) -> Worker | None:
        """Its latest sign of life."""
        return Worker.objects.filter(host=socket.gethostname(), pid=self.pid).order_by("-seen_at").first()


class Fleet:
    """Starts members by the names that `manage.py up` gives them, and ends whatever still runs."""

    def __init__(self, folder: Path, *, threads: int = 0, **environ: str) -> None:
        self.folder, self.threads = folder, threads  # of a worker for runs with models, where not as many as usual
        self.world = World(folder / "world.jsonl")
        self.members: list[Member] = []
        self.env = dict(os.environ) | {
            "DATABASE_URL": database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "COCKPIT_DATA_DIR": str(folder / "var"),
            "COCKPIT_WORKSPACE": str(WORKSPACE),
            "WORLD_LOG": str(self.world.log),
            "DJANGO_SETTINGS_MODULE": "cockpit.settings",
            **environ,
        }

    def start(self, *names: str, root: Path = environment.ROOT) -> list[Member]:
        """Start `model1`, `tool`, `tick` and the like, of the version of the code at `root`; they are not ready yet."""
        jobs = {job.name: job for job in installation.workers(MOST_WORKERS, demo=False)}
        started = []
        for name in names:
            log = self.folder / f"{name}-{len(self.members)}.log"
            command = list(jobs[name].command)
            if self.threads and name.startswith("model"):
                command[command.index("--concurrency") + 1] = str(self.threads)
            with log.open("wb") as output:
                process = processes.spawn(command, env=self.env, cwd=root, output=output, dies_by=jobs[name].dies_by)
            started.append(self.add(name, process, log))
        return started

    def add(self, name: str, process: subprocess.Popen[bytes], log: Path) -> Member:
        """Somebody else's child becomes one of ours."""
        self.members.append(Member(name, process, log))
        return self.members[-1]

    def ready(self) -> "Fleet":
        """Wait until everything that was started and lives has shown a sign of life."""
        for member in self.living():
            until(lambda one=member: one.sign() or one.process.poll() is not None, f"a sign of life of {member.name}")
            assert member.process.poll() is None, f"{member.name} ended: {member.log.read_text()}"
        return self

    def living(self) -> list[Member]:
        """The members that still run."""
        return [member for member in self.members if member.process.poll() is None]

    def workers(self) -> list[Member]:
        """The living members that drive runs of the queue `model`."""
        return [member for member in self.living() if member.name.startswith("model")]

    def said(self) -> str:
        """Everything the members have said, for whoever asks why a test failed."""
        return "\n".join(f"--- {member.name}\n{member.log.read_text()}" for member in self.members)

    def end(self) -> None:
        """Kill what still runs, children included; nothing they hold is worth waiting for."""
        for member in self.living():
            os.killpg(member.pid, signal.SIGKILL)
            member.process.wait()


def agent(slug: str, **bundle: Any) -> tuple[Agent, Release]:
    """An agent with one release of that content."""
    made = Agent.objects.filter(slug=slug).first() or factories.agent(slug)
    return made, factories.release(made, **bundle)


def pipeline(slug: str, *stages: tuple[str, dict[str, Any]], **bundle: Any) -> tuple[Agent, Release]:
    """An agent that works through these stages, tool and arguments each."""
    listed = [{"tool": name, "arguments": arguments} for name, arguments in stages]
    tools = sorted({name for name, _ in stages})
    fields = {"program": "pipeline", "models": [], "tools": tools, "pipeline": listed, "limits": {}, **bundle}
    return agent(slug, **fields)


def start(of: tuple[Agent, Release], objective: str, *, by: User) -> Run:
    """Start a run on the workers that take runs with models, whatever it consists of."""
    who, release = of
    return starting.start(who, objective=objective, by=by, release=release, queue=Run.Queue.MODEL)


def database_url() -> str:
    """The database that this process uses, which in tests is another one than the setting names."""
    return urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}"))
